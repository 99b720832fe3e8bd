import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
// Inside the repository, so that the code finds the packages by their names, as a stranger's would.
const scripts = mkdtempSync(join(here, '.readme-'));
const children: ChildProcess[] = [];
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await database.drop();
  rmSync(scripts, { recursive: true });
});

function blocks(language: string): string[] {
  const readme = readFileSync(join(here, '../README.md'), 'utf8');
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, code = '']) => code,
  );
}

function run(
  name: string,
  code: string,
  argv: readonly string[] = [],
): { child: ChildProcess; output: string[] } {
  const file = join(scripts, name);
  writeFileSync(file, code);
  const child = spawn(process.execPath, ['--conditions=source', file, ...argv], {
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: database.url,
      MIRROR_HEALTH_PORT: '0',
      LOG_FORMAT: 'json',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => output.push(text));
  }
  return { child, output };
}

test('what the README shows works as it stands: SQL, emit, and a group that gets both events', async () => {
  const [sql = ''] = blocks('sql');
  const [emitting = '', consuming = ''] = blocks('ts');
  const mirror = run('mirror.ts', consuming, ['--loop']);
  await database.pool.query(sql);
  const emitter = run('emit.ts', emitting);
  const [code] = await once(emitter.child, 'exit');
  expect({ code, output: emitter.output }).toEqual({ code: 0, output: [] });
  const told = await eventually(() => {
    const lines = mirror.output
      .join('')
      .split('\n')
      .filter((line) => line.includes('item.upserted'));
    return lines.length === 2 && lines;
  });
  expect(told.map((line) => (JSON.parse(line) as { payload: unknown }).payload)).toEqual([
    { id: 42 },
    { id: 42 },
  ]);
  mirror.child.kill('SIGTERM');
  expect(await once(mirror.child, 'exit')).toEqual([0, null]);
});

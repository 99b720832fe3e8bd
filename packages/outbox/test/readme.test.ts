import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestDatabase, eventually, readmeBlocks, readmeFolder } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

const room = 'packages/outbox';
const scripts = readmeFolder(room);
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
  const [sql = ''] = readmeBlocks(room, 'sql');
  const [emitting = '', consuming = ''] = readmeBlocks(room, 'ts');
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

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readmeBlocks, readmeFolder } from '@pulsebox/test-support';
import { afterAll, expect, test } from 'vitest';
import { metric, runScript, type WorkerProcess } from './worker-process.ts';

const room = 'packages/loop';
const [code = ''] = readmeBlocks(room, 'ts');
const scripts = readmeFolder(room);
const inbox = mkdtempSync(join(tmpdir(), 'pulsebox-inbox-'));
afterAll(() => {
  rmSync(scripts, { recursive: true });
  rmSync(inbox, { recursive: true });
});

async function worksAsSaid(worker: WorkerProcess, file: string): Promise<void> {
  await worker.healthUntil((status) => status === 200, '/health/ready');
  writeFileSync(join(inbox, file), '');
  await worker.line(({ msg }) => msg === 'new files');
  let handled = 0;
  while (handled === 0) {
    const { text } = await worker.request('/metrics');
    handled = metric(text, 'worker_events_total{worker="inbox-worker"}') ?? 0;
  }
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
}

const env = { INBOX_FOLDER: inbox, INBOX_HEALTH_PORT: '0', INBOX_POLL_SECONDS: '0.1' };

test('the worker of the README runs as it stands, in about 30 lines', async () => {
  expect(code.trim().split('\n').length).toBeLessThan(40);
  expect(code).toContain('runWorkerCommand');
  const file = join(scripts, 'inbox.ts');
  writeFileSync(file, code);
  await worksAsSaid(runScript(file, ['--loop'], env), 'one');

  const unset = runScript(file, ['--loop']);
  expect(await unset.exited).toEqual({ code: 1, signal: null });
  expect(unset.output[0]).toBe('inbox-worker: expected INBOX_FOLDER to be a text, but it is not set');
});

test('it runs from the built package as well', async () => {
  const tsc = fileURLToPath(new URL('../../../node_modules/.bin/tsc', import.meta.url));
  const built = spawnSync(tsc, ['-b', fileURLToPath(new URL('..', import.meta.url))], { encoding: 'utf8' });
  expect(built).toMatchObject({ status: 0, stdout: '' });
  const file = join(scripts, 'built.ts');
  writeFileSync(file, code);
  await worksAsSaid(runScript(file, ['--loop'], env, []), 'two');
});

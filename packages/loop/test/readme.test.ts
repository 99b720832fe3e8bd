import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { metric, runScript, type WorkerProcess } from './worker-process.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
// Inside the repository, so that the code finds the package by its name, as a stranger's would.
const scripts = mkdtempSync(join(here, '.readme-'));
const inbox = mkdtempSync(join(tmpdir(), 'pulsebox-inbox-'));
afterAll(() => {
  rmSync(scripts, { recursive: true });
  rmSync(inbox, { recursive: true });
});

function codeOfReadme(): string {
  const readme = readFileSync(join(here, '../README.md'), 'utf8');
  return /^```ts\n(.*?)^```$/ms.exec(readme)?.[1] ?? '';
}

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
  const code = codeOfReadme();
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
  const built = spawnSync(tsc, ['-b', join(here, '..')], { encoding: 'utf8' });
  expect(built).toMatchObject({ status: 0, stdout: '' });
  const file = join(scripts, 'built.ts');
  writeFileSync(file, codeOfReadme());
  await worksAsSaid(runScript(file, ['--loop'], env, []), 'two');
});

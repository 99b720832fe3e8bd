// What a newcomer meets before anything is installed.

import { spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly said: string;
}

/** `npm start` of a fresh clone whose npm is the given shell script. `whenRunning`: it has said that it runs. */
async function start(npm: string, whenRunning?: (pid: number) => void): Promise<Ended> {
  const clone = await mkdtemp(join(tmpdir(), 'pulsebox-bootstrap-'));
  onTestFinished(() => rm(clone, { recursive: true, force: true }));
  await mkdir(join(clone, 'scripts'));
  await copyFile(new URL('bootstrap.mjs', import.meta.url), join(clone, 'scripts/bootstrap.mjs'));
  await writeFile(join(clone, 'package-lock.json'), '{}');
  await writeFile(join(clone, 'npm'), `#!/bin/sh\necho npm runs\n${npm}\n`);
  await chmod(join(clone, 'npm'), 0o755);
  const child = spawn(process.execPath, [join(clone, 'scripts/bootstrap.mjs'), 'start'], {
    // A process group of its own, as in a terminal: Ctrl-C goes to all of it.
    detached: true,
    env: { PATH: `${clone}${delimiter}${process.env['PATH'] ?? ''}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (text.includes('npm runs')) whenRunning?.(child.pid ?? 0);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  return await new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, said }));
  });
}

test('Ctrl-C during the installation stops it, and is not called a failure', async () => {
  const { code, said } = await start('exec sleep 60', (pid) => process.kill(-pid, 'SIGINT'));
  expect(said).not.toContain('failed');
  expect(code).toBe(130);
});

test('so does a SIGTERM to the process alone', async () => {
  const { code, said } = await start('exec sleep 60', (pid) => process.kill(pid, 'SIGTERM'));
  expect(said).not.toContain('failed');
  expect(code).toBe(143);
});

test('an installation that fails is named', async () => {
  const { code, said } = await start('exit 1');
  expect(said).toContain('the installation failed; npm says why above');
  expect(code).toBe(1);
});

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

/** A fresh clone whose npm is the given shell script. */
async function freshClone(npm: string): Promise<string> {
  const clone = await mkdtemp(join(tmpdir(), 'pulsebox-bootstrap-'));
  onTestFinished(() => rm(clone, { recursive: true, force: true }));
  await mkdir(join(clone, 'scripts'));
  await copyFile(new URL('bootstrap.mjs', import.meta.url), join(clone, 'scripts/bootstrap.mjs'));
  await writeFile(join(clone, 'package-lock.json'), '{}');
  await writeFile(join(clone, 'npm'), `#!/bin/sh\necho npm runs\n${npm}\n`);
  await chmod(join(clone, 'npm'), 0o755);
  return clone;
}

/** `npm start` of a fresh clone. `whenRunning`: its npm has said that it runs. */
async function start(npm: string, whenRunning?: (pid: number) => void): Promise<Ended> {
  const clone = await freshClone(npm);
  return await ended(clone, [process.execPath, join(clone, 'scripts/bootstrap.mjs'), 'start'], whenRunning);
}

async function ended(
  clone: string,
  [program = '', ...args]: readonly string[],
  whenRunning?: (pid: number) => void,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = spawn(program, args, {
    // A process group of its own, as in a terminal: Ctrl-C goes to all of it.
    detached: true,
    env: { PATH: `${clone}${delimiter}${process.env['PATH'] ?? ''}`, ...env },
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

test('nothing runs on when npm was ended, and with it the shell that it runs scripts in', async () => {
  const clone = await freshClone('exec sleep 60');
  const shell = ['/bin/sh', '-c', `"${process.execPath}" "${clone}/scripts/bootstrap.mjs" start; exit`];
  // Its output ends only when everything that had it has ended.
  const { signal } = await ended(clone, shell, (pid) => process.kill(pid, 'SIGKILL'), {
    npm_lifecycle_event: 'start',
  });
  expect(signal).toBe('SIGKILL');
});

test('an installation that fails is named', async () => {
  const { code, said } = await start('exit 1');
  expect(said).toContain('the installation failed; npm says why above');
  expect(code).toBe(1);
});

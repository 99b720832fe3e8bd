// `npm start` from outside, with a state folder and ports of its own.

import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, chmod, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, freePort, runProgram } from '@pulsebox/test-support';
import type { Program } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, test } from 'vitest';

const ENTRY = 'apps/dev/src/start.ts';

interface RunFile {
  readonly supervisorPid: number;
  readonly databaseUrl: string;
  readonly workers: readonly { readonly pid: number; readonly healthUrl: string }[];
}

let state: string;
let port: number;
let pushPort: number;
let watchPort: number;

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'pulsebox-start-'));
  await chmod(state, 0o755);
  port = await freePort();
  pushPort = await freePort();
  watchPort = await freePort();
});

afterEach(async () => {
  // Whatever a failed test left: the next start clears leftovers, here there is none.
  const run = await readRunFile().catch(() => undefined);
  for (const worker of run?.workers ?? []) spawnSync('kill', ['-9', String(worker.pid)]);
  const postmaster = Number.parseInt(
    await readFile(join(state, 'postgres', 'postmaster.pid'), 'utf8').catch(() => ''),
    10,
  );
  if (postmaster > 0) spawnSync('kill', ['-QUIT', String(postmaster)]);
  await eventually(async () => {
    await rm(state, { recursive: true, force: true });
    return true;
  });
});

function start(
  args: { readonly waitFor?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Program> {
  const program = runProgram(ENTRY, {
    env: { PULSEBOX_STATE: state, ...ports(), ...args.env },
  });
  return program.says(args.waitFor ?? 'Ctrl-C stops it').then(() => program);
}

function ports(): Record<string, string> {
  return {
    WORKER_HEALTH_PORT: String(port),
    PUSH_WORKER_HEALTH_PORT: String(pushPort),
    WATCH_WORKER_HEALTH_PORT: String(watchPort),
  };
}

async function readRunFile(): Promise<RunFile> {
  return JSON.parse(await readFile(join(state, 'run.json'), 'utf8')) as RunFile;
}

test('brings a database, a healthy worker and hints, finds its data again, and stops everything', async () => {
  const first = await start();
  expect(first.output()).toContain('made a new database');
  expect(first.output()).toContain(`http://127.0.0.1:${port}/health`);
  expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  // Push is on, with keys that were made for it and are kept.
  const push = await fetch(`http://127.0.0.1:${pushPort}/metrics`);
  expect(await push.text()).toContain('worker_loop_up{worker="push-worker",loop="push"} 1');
  const keys = await readFile(join(state, 'vapid.json'), 'utf8');
  const run = await readRunFile();
  const demo = runProgram('apps/dev/src/demo.ts', {
    args: ['--rows', '500'],
    env: { PULSEBOX_STATE: state },
  });
  expect(await demo.exited, demo.output()).toMatchObject({ code: 0 });
  expect(demo.output()).toContain('(as it should be)');

  first.kill('SIGINT');
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(first.output()).toMatch(/"?stopped[\s\S]*the database is stopped; its data is kept\s*$/);
  expect(isRunning(run.workers[0]?.pid)).toBe(false);

  const second = await start();
  expect(second.output()).toContain('found the database');
  expect(await readFile(join(state, 'vapid.json'), 'utf8')).toBe(keys);
  second.kill('SIGTERM');
  expect(await second.exited).toMatchObject({ code: 0 });
});

test('clears away what a killed start left running', async () => {
  const killed = await start();
  const left = await readRunFile();
  killed.kill('SIGKILL');
  await killed.exited;
  expect(isRunning(left.workers[0]?.pid)).toBe(true);

  const next = await start();
  expect(next.output()).toContain('stopping a database that an earlier run left behind');
  expect(isRunning(left.workers[0]?.pid)).toBe(false);
  const second = await start({ waitFor: 'it runs already' });
  expect(await second.exited).toMatchObject({ code: 1 });
  next.kill('SIGINT');
  expect(await next.exited).toMatchObject({ code: 0 });
});

test('lets one of several that are started at once through, after one that was killed, too', async () => {
  await writeFile(join(state, 'start.lock'), '999999999\n');
  const programs = [1, 2, 3].map(() => runProgram(ENTRY, { env: { PULSEBOX_STATE: state, ...ports() } }));
  const ends = programs.map(async (program) => {
    await program.exited;
    return program;
  });
  const refused = await Promise.race(ends);
  expect(refused.output()).toContain('it runs already');
  await eventually(() => programs.some((program) => program.output().includes('Ctrl-C stops it')));
  for (const program of programs) program.kill('SIGINT');
  const outputs = (await Promise.all(ends)).map((program) => program.output());
  expect(outputs.filter((output) => output.includes('made a new database'))).toHaveLength(1);
  expect(outputs.filter((output) => output.includes('it runs already'))).toHaveLength(2);
});

test('takes an empty DATABASE_URL and a broken run file for none, and says that a password is gone', async () => {
  await writeFile(join(state, 'run.json'), '{"supervisorPid":');
  const first = await start({ env: { DATABASE_URL: '', DATABASE_DIRECT_URL: 'postgres://x@127.0.0.1:1/x' } });
  const { workers } = await readRunFile();
  const health = await (await fetch(workers[0]?.healthUrl ?? '')).text();
  expect(health).not.toContain('degraded');
  first.kill('SIGINT');
  await first.exited;

  await rm(join(state, 'postgres-password'));
  const second = await start({ waitFor: 'to start afresh' });
  expect(await second.exited).toMatchObject({ code: 1 });
});

test('says what is wrong with a DATABASE_URL', async () => {
  const program = await start({ waitFor: 'what to do', env: { DATABASE_URL: 'localhost/mine' } });
  expect(await program.exited).toMatchObject({ code: 1 });
  expect(program.output()).toContain('DATABASE_URL is not a PostgreSQL URL');
});

test('names a port that is in use, and what to do', async () => {
  const others = [port, watchPort].map((taken) => createServer().listen(taken));
  try {
    const program = await start({ waitFor: `port ${port}` });
    expect(await program.exited).toMatchObject({ code: 1 });
    expect(program.output()).toContain(
      `WORKER_HEALTH_PORT=${port + 100} WATCH_WORKER_HEALTH_PORT=${watchPort + 100} npm start`,
    );
  } finally {
    for (const other of others) other.close();
  }
});

test('says where its data cannot be kept, and what to do', async () => {
  const file = join(state, 'file');
  await writeFile(file, '');
  const program = runProgram(ENTRY, { env: { PULSEBOX_STATE: join(file, 'state'), ...ports() } });
  expect((await program.exited).code).toBe(1);
  expect(program.output()).toContain(
    `expected ${file}/state to be a folder that can be written to, got ENOTDIR`,
  );
  expect(program.output()).toContain('PULSEBOX_STATE=');
});

test('takes no arguments, and says what it reads instead', async () => {
  const help = runProgram(ENTRY, { args: ['--help'] });
  const faulty = runProgram(ENTRY, { args: ['worker'] });
  const demo = runProgram('apps/dev/src/demo.ts', { args: ['--row', '5'] });
  expect(await help.exited).toEqual({ code: 0, signal: null });
  expect(help.output()).toContain('PULSEBOX_STATE');
  expect(await faulty.exited).toEqual({ code: 2, signal: null });
  expect(faulty.output()).toContain('expected no arguments, got worker');
  expect(await demo.exited).toEqual({ code: 2, signal: null });
  expect(demo.output()).toContain("Unknown option '--row'");
  expect(demo.output()).not.toContain('    at ');
});

function isRunning(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  return (
    spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' })
      .stdout.trim()
      .replace(/^Z.*/, '') !== ''
  );
}

// npm start: the whole suite on this machine, with a database that needs no installing.

import { access, constants, mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectionConfig, migrate } from '@pulsebox/postgres';
import type { EmbeddedServer } from '@pulsebox/postgres';
import { checkout } from './checkout.ts';
import { startDatabase } from './database.ts';
import { isPortFree } from './ports.ts';
import { stopProcess } from './process-table.ts';
import { readRunFile, removeRunFile, writeRunFile } from './run-file.ts';
import type { RunFile } from './run-file.ts';
import { allMigrations } from './schema.ts';
import { claimStart } from './start-lock.ts';
import type { StartLock } from './start-lock.ts';
import { suite } from './suite.ts';
import type { WorkerApp } from './suite.ts';
import { superviseWorker } from './supervise.ts';
import type { SupervisedWorker } from './supervise.ts';
import { vapidEnvironment } from './vapid.ts';
import { whatNext } from './what-next.ts';

/** A fault that is said in one sentence, without a stack. */
class StartError extends Error {}

const HELP = `npm start

Starts an embedded PostgreSQL, makes its tables, runs the three workers, and prints what to try. Ctrl-C stops all of it.
It takes no flags; these variables change what it does, beside those of docs/configuration.md:

  PULSEBOX_STATE   where it keeps its data and says where it runs; .pulsebox in the checkout unless set
  DATABASE_URL     a database of your own, in the place of the embedded one
  ${suite.map(({ portVariable }) => portVariable).join(', ')}
                   the ports of /health and /metrics
`;

const stopping = new AbortController();

process.exitCode = await commandLine(process.argv.slice(2));

async function commandLine(args: readonly string[]): Promise<number> {
  if (args.length === 0) return await main();
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return 0;
  }
  say(`expected no arguments, got ${args.join(' ')}; \`npm start -- --help\` says what it reads`);
  return 2;
}

async function main(): Promise<number> {
  let signals = 0;
  let workers: readonly SupervisedWorker[] = [];
  let database: EmbeddedServer | undefined;
  let lock: StartLock | undefined;
  const onSignal = (): void => {
    signals += 1;
    stopping.abort();
    // The first asks the workers to finish what is in flight; the next one is passed on and ends them at once.
    if (signals > 1) for (const worker of workers) worker.signal('SIGTERM');
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);

  try {
    await assertStateWritable();
    lock = await claimStart();
    if (!lock.claimed) throw new StartError(runsAlready(lock.holderPid));
    await clearLeftovers();
    await assertPortsFree();
    const databaseUrl = ownDatabase() ?? (database = await start()).url;
    await prepare(databaseUrl);
    stopping.signal.throwIfAborted();

    const fileStoragePath = await fileStorage();
    const environment = {
      ...process.env,
      FILE_STORAGE_PATH: fileStoragePath,
      ...(await vapidEnvironment(process.env)),
      DATABASE_URL: databaseUrl,
      // Beside the embedded database it could only be that of another one.
      ...(database === undefined ? {} : { DATABASE_DIRECT_URL: undefined }),
    };
    workers = suite.map((app) => superviseWorker(app, environment));
    const run = describeRun({ databaseUrl, fileStoragePath, workers });
    await writeRunFile(run);
    await untilReady(run, workers);
    process.stdout.write(whatNext(run));
    return await untilOver(workers, database);
  } catch (error) {
    if (stopping.signal.aborted) return 0;
    say(explain(error));
    return 1;
  } finally {
    stopping.abort();
    for (const worker of workers) worker.signal('SIGTERM');
    await Promise.all(workers.map((worker) => worker.exited));
    await database?.stop();
    if (database !== undefined) say('the database is stopped; its data is kept');
    if (workers.length > 0) await removeRunFile();
    if (lock?.claimed === true) await lock.release();
  }
}

/** An empty value counts as unset, as it does for the workers. */
function ownDatabase(): string | undefined {
  const url = process.env['DATABASE_URL']?.trim();
  return url === '' ? undefined : url;
}

async function start(): Promise<EmbeddedServer> {
  say('starting PostgreSQL');
  const server = await startDatabase(say);
  say(`${server.created ? 'made a new database' : 'found the database'} in ${server.dataDirectory}`);
  return server;
}

async function prepare(databaseUrl: string): Promise<void> {
  const { applied } = await migrate(connectionConfig({ url: databaseUrl }, 'pulsebox-start'), allMigrations);
  if (applied.length > 0) say(`applied ${applied.length} migrations`);
}

async function assertStateWritable(): Promise<void> {
  try {
    await mkdir(checkout.state, { recursive: true });
    await access(checkout.state, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(
      `expected ${checkout.state} to be a folder that can be written to, got ${code}\n  what to do: name another one for the data, for instance\n  PULSEBOX_STATE=$HOME/.pulsebox npm start`,
      { cause: error },
    );
  }
}

function runsAlready(pid: number): string {
  return `it runs already, as process ${pid}: stop that one with Ctrl-C (or kill ${pid}), or use it as it is`;
}

/** What a start that was killed left running. */
async function clearLeftovers(): Promise<void> {
  const found = await readRunFile();
  if (found === undefined) return;
  if (found.alive) {
    throw new StartError(runsAlready(found.run.supervisorPid));
  }
  for (const worker of found.run.workers) {
    await stopProcess(worker.pid, 'apps/', 'SIGTERM', 10_000);
  }
  await removeRunFile();
}

async function assertPortsFree(): Promise<void> {
  const taken: WorkerApp[] = [];
  for (const app of suite) if (!(await isPortFree(portOf(app)))) taken.push(app);
  if (taken.length === 0) return;
  const which = taken.map((app) => `port ${portOf(app)}, for the health of ${app.name}`).join('; ');
  const others = taken.map((app) => `${app.portVariable}=${portOf(app) + 100}`).join(' ');
  throw new StartError(
    `in use by another program: ${which}\n  what to do: stop it (is it an \`npm start\` of another folder?), or choose others, for instance\n  ${others} npm start`,
  );
}

async function untilReady(run: RunFile, workers: readonly SupervisedWorker[]): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (const [index, { name, healthUrl }] of run.workers.entries()) {
    while (!(await isReady(healthUrl))) {
      const ended = await Promise.race([workers[index]?.exited, delay(100, undefined)]);
      stopping.signal.throwIfAborted();
      if (ended !== undefined) throw new StartError(`${name} ended while starting; its last words are above`);
      if (performance.now() > deadline)
        throw new StartError(`${name} was not ready within a minute: see ${healthUrl}`);
    }
  }
}

async function isReady(healthUrl: string): Promise<boolean> {
  return await fetch(`${healthUrl}/ready`, { signal: AbortSignal.timeout(1_000) }).then(
    (response) => response.ok,
    () => false,
  );
}

/** Waits for Ctrl-C, or for something to end that should not have. */
async function untilOver(
  workers: readonly SupervisedWorker[],
  database: EmbeddedServer | undefined,
): Promise<number> {
  const ends = workers.map(async ({ app, exited }) => {
    const { code, signal } = await exited;
    return `${app.name} ended unasked (${signal ?? `code ${code}`}); stopping the rest`;
  });
  if (database !== undefined)
    ends.push(database.exited.then(() => 'the database ended unasked; stopping the rest'));
  const asked = new Promise<undefined>((resolve) => {
    stopping.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    if (stopping.signal.aborted) resolve(undefined);
  });
  const reason = await Promise.race([...ends, asked]);
  if (reason === undefined) {
    say('stopping');
    return 0;
  }
  say(reason);
  return 1;
}

/** What is configured, or a directory beside the database. Whether the former is there is the worker's to say. */
async function fileStorage(): Promise<string> {
  const named = process.env['FILE_STORAGE_PATH']?.trim() ?? '';
  if (named !== '') return resolve(named);
  await mkdir(checkout.files, { recursive: true });
  return checkout.files;
}

interface Started {
  readonly databaseUrl: string;
  readonly fileStoragePath: string;
  readonly workers: readonly SupervisedWorker[];
}

function describeRun({ databaseUrl, fileStoragePath, workers }: Started): RunFile {
  const meiliUrl = process.env['MEILI_URL'];
  return {
    supervisorPid: process.pid,
    databaseUrl,
    fileStoragePath,
    ...(meiliUrl === undefined || meiliUrl === '' ? {} : { meiliUrl }),
    workers: workers.map(({ app, pid }) => ({
      name: app.name,
      pid,
      healthUrl: `http://127.0.0.1:${portOf(app)}/health`,
    })),
  };
}

function portOf(app: WorkerApp): number {
  const configured = Number(process.env[app.portVariable]);
  // What is no port is the worker's to complain of: it says what it expected.
  return Number.isInteger(configured) && configured > 0 && configured < 65_536 ? configured : app.defaultPort;
}

function explain(error: unknown): string {
  if (error instanceof StartError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { code, hint } = error as { code?: string; hint?: string };
  return `${error.message}${code === undefined ? '' : ` (${code})`}${hint === undefined ? '' : `\n  what to do: ${hint}`}`;
}

function say(message: string): void {
  process.stdout.write(`pulsebox: ${message}\n`);
}

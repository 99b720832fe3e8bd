// A real PostgreSQL out of npm packages, for development and tests: no server to install, no container.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { accountToRunAs, embeddedBinaries, reachableFolder } from './embedded-binaries.ts';
import type { EmbeddedBinaries, RunAs } from './embedded-binaries.ts';
import { PostgresError } from './postgres-error.ts';

export interface EmbeddedServerOptions {
  /** Where the data lives. Made when it is missing; found again at the next start. */
  readonly dataDirectory: string;
  readonly port: number;
  /** Superuser `postgres` logs in with it over TCP on 127.0.0.1; nothing else is listened on. */
  readonly password: string;
  /** Server settings, for instance `{ fsync: 'off' }` for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly onLog?: (line: string) => void;
}

export interface EmbeddedServer {
  readonly url: string;
  readonly pid: number;
  /** Where the data is: under root it may be elsewhere, in a folder that the server's account can reach. */
  readonly dataDirectory: string;
  /** True when this start made the data directory. */
  readonly created: boolean;
  /** Settles when the server process has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** Ends sessions, writes a checkpoint, stops. Idempotent. */
  stop(): Promise<void>;
  /** Stops without a checkpoint, as a crash would. For tests. */
  kill(): Promise<void>;
}

/** What these programs write into PG_VERSION. */
const MAJOR_VERSION = '18';

const READY = 'database system is ready to accept connections';

/**
 * @throws POSTGRES_EMBEDDED_UNAVAILABLE no programs for this platform
 * @throws POSTGRES_EMBEDDED_VERSION the folder was written by another major version
 * @throws POSTGRES_EMBEDDED_RUNNING a server already runs on this folder
 * @throws POSTGRES_EMBEDDED_FAILED the server did not come up; its own words are in the message
 */
export async function startEmbeddedServer(requested: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const runAs = await accountToRunAs();
  const binaries = await embeddedBinaries(runAs);
  const options = { ...requested, dataDirectory: await reachableFolder(requested.dataDirectory, runAs) };
  const created = await prepareDataDirectory(options, binaries, runAs);
  await clearStalePidFile(options.dataDirectory);

  const settings = {
    port: String(options.port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = spawn(binaries.postgres, ['-D', options.dataDirectory, ...flags], {
    ...runAs,
    stdio: ['ignore', 'ignore', 'pipe'],
    // A process group of its own: Ctrl-C in the terminal must reach the workers first and the database last.
    detached: true,
    env: { ...localeEnvironment(), PGDATA: options.dataDirectory },
  });
  await untilReady(server, options);

  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server.exitCode === null && server.signalCode === null) server.kill(signal);
    await exited;
  };
  return {
    url: `postgres://postgres:${encodeURIComponent(options.password)}@127.0.0.1:${options.port}/postgres`,
    pid: server.pid ?? 0,
    dataDirectory: options.dataDirectory,
    created,
    exited,
    stop: () => end('SIGINT'),
    kill: () => end('SIGQUIT'),
  };
}

/** The postmaster that runs on this folder, if one does. Left behind when its starter was killed. */
export async function runningServerPid(dataDirectory: string): Promise<number | undefined> {
  const pid = await readPidFile(await reachableFolder(dataDirectory, await accountToRunAs()));
  return pid !== undefined && (await isPostgres(pid)) ? pid : undefined;
}

async function prepareDataDirectory(
  options: EmbeddedServerOptions,
  binaries: EmbeddedBinaries,
  runAs: RunAs | undefined,
): Promise<boolean> {
  const { dataDirectory } = options;
  const version = await readFile(join(dataDirectory, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (version === undefined) {
    await assertEmpty(dataDirectory);
    // Made beside it and renamed when whole: a first start that is cut short leaves no folder that looks like data, and
    // what it does leave, the file with the password above all, is removed by the next one.
    const unfinished = `${dataDirectory}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished, { mode: 0o700 });
    if (runAs !== undefined) await chown(unfinished, runAs.uid, runAs.gid);
    await initialise(unfinished, options.password, binaries, runAs);
    await rename(join(unfinished, 'data'), dataDirectory);
    await rm(unfinished, { recursive: true, force: true });
    return true;
  }
  if (version.trim() !== MAJOR_VERSION) {
    throw new PostgresError(
      'POSTGRES_EMBEDDED_VERSION',
      `${options.dataDirectory} was written by PostgreSQL ${version.trim()}, expected ${MAJOR_VERSION}`,
      { hint: 'move the folder away to start afresh, or dump it with the old version and restore it' },
    );
  }
  return false;
}

/** Somebody's folder with something else in it is theirs: it is neither used nor cleared. */
async function assertEmpty(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (entries.length === 0) return;
  throw new PostgresError(
    'POSTGRES_EMBEDDED_FAILED',
    `expected ${folder} to be missing, empty or a PostgreSQL data folder, got one with other files`,
    { hint: 'name another folder, or move away what is in this one' },
  );
}

/** Makes a data directory `data` in the folder. */
async function initialise(
  folder: string,
  password: string,
  binaries: EmbeddedBinaries,
  runAs: RunAs | undefined,
): Promise<void> {
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (runAs !== undefined) await chown(passwordFile, runAs.uid, runAs.gid);
  const initdb = spawn(
    binaries.initdb,
    [
      `--pgdata=${join(folder, 'data')}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ],
    { ...runAs, stdio: ['ignore', 'ignore', 'pipe'], env: localeEnvironment() },
  );
  const output = collect(initdb);
  const code = await exitCode(initdb);
  if (code === 0) return;
  await rm(folder, { recursive: true, force: true });
  throw failed(`initdb ended with code ${code}: ${output.text()}`);
}

async function untilReady(server: ChildProcess, options: EmbeddedServerOptions): Promise<void> {
  const output = collect(server, options.onLog);
  await new Promise<void>((resolve, reject) => {
    const onData = (): void => {
      if (output.text().includes(READY)) settle(resolve);
    };
    const onEnd = (): void => {
      const error = failed(`the server did not start: ${output.text()}`);
      settle(() => reject(error));
    };
    const settle = (then: () => void): void => {
      server.stderr?.off('data', onData);
      server.off('close', onEnd);
      server.off('error', onEnd);
      output.stop();
      then();
    };
    server.stderr?.on('data', onData);
    // Not `exit`, which may come before the last of the server's words.
    server.once('close', onEnd);
    server.once('error', onEnd);
  });
}

/** A pid file whose process is gone, or is another program by now, would keep the server from starting. */
async function clearStalePidFile(dataDirectory: string): Promise<void> {
  const pid = await readPidFile(dataDirectory);
  if (pid === undefined) return;
  if (await isPostgres(pid)) {
    throw new PostgresError(
      'POSTGRES_EMBEDDED_RUNNING',
      `a server already runs on ${dataDirectory} (process ${pid})`,
      {
        hint: `stop it first: kill -INT ${pid}`,
      },
    );
  }
  await rm(join(dataDirectory, 'postmaster.pid'), { force: true });
}

async function readPidFile(dataDirectory: string): Promise<number | undefined> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => undefined);
  const pid = Number.parseInt(text ?? '', 10);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

async function isPostgres(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives under another account.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  // Where there is no /proc, a living process is taken at its word.
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  return command === undefined ? process.platform !== 'linux' : /postgres/.test(command.split('\0')[0] ?? '');
}

function collect(
  child: ChildProcess,
  onLog?: (line: string) => void,
): { text: () => string; stop: () => void } {
  let text = '';
  let collecting = true;
  let rest = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (chunk: string) => {
    if (collecting) text += chunk;
    if (onLog === undefined) return;
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLog(line);
  });
  return {
    text: () => text,
    stop: () => {
      collecting = false;
      text = '';
    },
  };
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
}

function failed(message: string): PostgresError {
  return new PostgresError('POSTGRES_EMBEDDED_FAILED', message.trim(), {
    hint: 'the message is the server’s own; a port in use or a full disk are the usual causes',
  });
}

/** Messages in English, whatever the machine speaks: they are read for the sign that the server is up. */
function localeEnvironment(): Record<string, string> {
  return { LC_ALL: 'C', PATH: '/usr/bin:/bin' };
}

// A server of Debian's PostgreSQL package with its client programs, where they are installed: for tests that dump and
// restore, which the embedded server has no programs for.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';

const run = promisify(execFile);
const BIN = '/usr/lib/postgresql/15/bin';

export const debianPostgresInstalled: boolean = ['initdb', 'postgres', 'pg_dump', 'psql'].every((name) =>
  existsSync(join(BIN, name)),
);

export interface DebianServer {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startDebianServer(): Promise<DebianServer> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-debian-'));
  const account = unprivilegedAccount();
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  const data = join(folder, 'data');
  await run(join(BIN, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '-N'], {
    ...account,
    cwd: folder,
  });
  const port = await freePort();
  const settings = [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    'unix_socket_directories=',
    'fsync=off',
  ].flatMap((one) => ['-c', one]);
  const server = spawn(join(BIN, 'postgres'), ['-D', data, ...settings], {
    ...account,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let said = '';
    server.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('ready to accept connections')) resolve();
    });
    server.once('exit', () => reject(new Error(`the server did not start:\n${said}`)));
  });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop(): Promise<void> {
      server.kill('SIGINT');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Dumps one database as SQL, and runs it in another. */
export async function dumpAndRestore(fromUrl: string, toUrl: string): Promise<void> {
  const { stdout } = await run(join(BIN, 'pg_dump'), ['--no-owner', fromUrl], { maxBuffer: 2 ** 28 });
  const psql = run(join(BIN, 'psql'), ['-X', '-q', '-v', 'ON_ERROR_STOP=1', toUrl], { maxBuffer: 2 ** 28 });
  psql.child.stdin?.end(stdout);
  await psql;
}

/** Neither PostgreSQL nor PgBouncer runs as root. Undefined: this process is not. */
export function unprivilegedAccount(): { readonly uid: number; readonly gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: idOf('-u', 'nobody'), gid: idOf('-g', 'nobody') } : undefined;
}

function idOf(flag: '-u' | '-g', account: string): number {
  return Number(execFileSync('id', [flag, account], { encoding: 'utf8' }));
}

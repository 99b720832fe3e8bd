// PgBouncer of Debian's package in transaction mode before a server, where it is installed.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { unprivilegedAccount } from './debian-postgres.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

const PROGRAM = '/usr/sbin/pgbouncer';

export const pgBouncerInstalled: boolean = existsSync(PROGRAM);

export interface PgBouncer {
  /** The given URL with the pooler's host and port in it. */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Few server connections for many clients, so that what a client leaves in a session shows up in another's.
 *
 * @param targetUrl for instance `postgres://user:password@127.0.0.1:5432/database`
 */
export async function startPgBouncer(targetUrl: string): Promise<PgBouncer> {
  const target = new URL(targetUrl);
  const account = unprivilegedAccount();
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-pgbouncer-'));
  await chmod(folder, 0o755);
  const port = await freePort();
  const users = join(folder, 'users');
  const configuration = join(folder, 'pgbouncer.ini');
  await writeFile(users, `"${target.username}" "${target.password}"\n`, { mode: 0o644 });
  await writeFile(
    configuration,
    `[databases]
* = host=${target.hostname} port=${target.port} user=${target.username} password=${target.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
`,
    { mode: 0o644 },
  );
  const pooler = spawn(PROGRAM, ['-q', configuration], { ...account, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  pooler.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const exited = new Promise<void>((resolve) => pooler.once('exit', () => resolve()));
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  await eventually(() => answers(url.href)).catch(() => {
    pooler.kill('SIGKILL');
    throw new Error(`PgBouncer did not start:\n${said}`);
  });
  return {
    url: url.href,
    async stop(): Promise<void> {
      // At once: clients that are still there are none of its business.
      pooler.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } finally {
    await client.end().catch(() => undefined);
  }
}

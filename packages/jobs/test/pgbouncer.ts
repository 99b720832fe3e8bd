// Debian's PgBouncer in transaction mode, where it is installed.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, freePort } from '@pulsebox/test-support';
import pg from 'pg';

const PROGRAM = '/usr/sbin/pgbouncer';

export const pgbouncerInstalled: boolean = existsSync(PROGRAM);

export interface PgBouncer {
  readonly url: string;
  stop(): Promise<void>;
}

/** One server connection for all clients, so that whoever leans on a session is found out. */
export async function startPgBouncer(databaseUrl: string): Promise<PgBouncer> {
  const target = new URL(databaseUrl);
  const name = target.pathname.slice(1);
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-pgbouncer-'));
  const settings = join(folder, 'pgbouncer.ini');
  const password = decodeURIComponent(target.password);
  await writeFile(
    settings,
    `[databases]
${name} = host=${target.hostname} port=${target.port} dbname=${name} user=${target.username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
ignore_startup_parameters = extra_float_digits
`,
  );
  // PgBouncer does not run as root.
  const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;
  if (asNobody !== undefined) {
    await chown(folder, asNobody.uid, asNobody.gid);
    await chown(settings, asNobody.uid, asNobody.gid);
  }
  const program = spawn(PROGRAM, ['-q', settings], { ...asNobody, cwd: folder, stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => program.once('exit', () => resolve()));
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  await eventually(async () => {
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    await client.end();
    return true;
  });
  return {
    url: url.href,
    async stop(): Promise<void> {
      program.kill('SIGINT');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

// The embedded database of `npm start`: found again at the next start, cleared of what a crash left.

import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { runningServerPid, startEmbeddedServer } from '@pulsebox/postgres';
import type { EmbeddedServer } from '@pulsebox/postgres';
import { checkout } from './checkout.ts';
import { freePort } from './ports.ts';
import { stopProcess } from './process-table.ts';

/** Out of the way of a PostgreSQL that is installed here. */
const PREFERRED_PORT = 54_329;

export async function startDatabase(say: (message: string) => void): Promise<EmbeddedServer> {
  await mkdir(checkout.state, { recursive: true });
  const leftBehind = await runningServerPid(checkout.database);
  if (leftBehind !== undefined) {
    say(`stopping a database that an earlier run left behind (process ${leftBehind})`);
    await stopProcess(leftBehind, 'postgres', 'SIGINT', 30_000);
  }
  const password = await keptOrMadePassword();
  const log = createWriteStream(checkout.databaseLog, { flags: 'a' });
  const server = await startEmbeddedServer({
    dataDirectory: checkout.database,
    port: await freePort(PREFERRED_PORT),
    password: password.text,
    onLog: (line) => {
      log.write(`${line}\n`);
      if (/\b(FATAL|PANIC):/.test(line)) say(`database: ${line}`);
    },
  });
  void server.exited.then(() => log.end());
  if (password.made && !server.created) {
    await server.stop();
    await rm(checkout.databasePassword, { force: true });
    throw new Error(
      `the database in ${server.dataDirectory} is from an earlier start, and its password, which was in ${checkout.databasePassword}, is gone\n  what to do: remove ${server.dataDirectory} to start afresh, or put the file back`,
    );
  }
  return server;
}

/** Made once and kept beside the data it opens. */
async function keptOrMadePassword(): Promise<{ readonly text: string; readonly made: boolean }> {
  const kept = await readFile(checkout.databasePassword, 'utf8').catch(() => undefined);
  if (kept !== undefined) return { text: kept.trim(), made: false };
  const made = randomBytes(18).toString('base64url');
  await writeFile(checkout.databasePassword, `${made}\n`, { mode: 0o600 });
  return { text: made, made: true };
}

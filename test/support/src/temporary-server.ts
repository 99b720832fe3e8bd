// A PostgreSQL server for a test run, a benchmark or a torture run; gone when the process that asked for it is.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface TemporaryServer {
  /** Superuser on the database `postgres`. */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** @param settings server settings, for instance `{ fsync: 'off' }` where nothing needs to survive a power cut */
export async function startTemporaryServer(
  settings: Readonly<Record<string, string>> = {},
): Promise<TemporaryServer> {
  const keeper = spawn(
    process.execPath,
    [
      '--conditions=source',
      fileURLToPath(new URL('server-keeper.ts', import.meta.url)),
      JSON.stringify(settings),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = new Promise<void>((resolve) => keeper.once('exit', () => resolve()));
  const ready = new Promise<{ url: string; pid: number }>((resolve, reject) => {
    createInterface({ input: keeper.stdout }).once('line', (line) =>
      resolve(JSON.parse(line) as { url: string; pid: number }),
    );
    keeper.once('error', reject);
    keeper.once('exit', (code) => reject(new Error(`the temporary server did not start (code ${code})`)));
  });
  const { url, pid } = await ready;
  return {
    url,
    pid,
    async stop(): Promise<void> {
      keeper.stdin.end();
      await exited;
    },
  };
}

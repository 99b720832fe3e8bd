// What a running `npm start` says of itself, so that `npx pulsebox` and `npm run demo` find its database, and so that
// the next start can clear away what a killed one left behind.

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { checkout } from './checkout.ts';
import { isAlive } from './process-table.ts';

export interface RunFile {
  readonly supervisorPid: number;
  readonly databaseUrl: string;
  readonly meiliUrl?: string;
  readonly workers: readonly RunningWorker[];
}

export interface RunningWorker {
  readonly name: string;
  readonly pid: number;
  readonly healthUrl: string;
}

/** The file of a start that lives, or of one that was killed; undefined: neither. */
export async function readRunFile(): Promise<{ readonly run: RunFile; readonly alive: boolean } | undefined> {
  const text = await readFile(checkout.runFile, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const run = JSON.parse(text) as RunFile;
  return { run, alive: isAlive(run.supervisorPid, 'start.') };
}

export async function writeRunFile(run: RunFile): Promise<void> {
  const partial = `${checkout.runFile}.${process.pid}`;
  // It holds the database's password.
  await writeFile(partial, `${JSON.stringify(run, undefined, 2)}\n`, { mode: 0o600 });
  await rename(partial, checkout.runFile);
}

export async function removeRunFile(): Promise<void> {
  await rm(checkout.runFile, { force: true });
}

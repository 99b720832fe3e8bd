// What a running `npm start` says of itself, so that `npx pulsebox` and `npm run demo` find its database, and so that
// the next start can clear away what a killed one left behind.

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { checkout } from './checkout.ts';
import { isAlive } from './process-table.ts';

export interface RunFile {
  readonly supervisorPid: number;
  readonly databaseUrl: string;
  readonly meiliUrl?: string;
  readonly fileStoragePath: string;
  readonly workers: readonly RunningWorker[];
}

export interface RunningWorker {
  readonly name: string;
  readonly pid: number;
  readonly healthUrl: string;
}

/** The file of a start that lives, or of one that was killed; undefined: neither, or something else. */
export async function readRunFile(): Promise<{ readonly run: RunFile; readonly alive: boolean } | undefined> {
  const text = await readFile(checkout.runFile, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const run = parseRunFile(text);
  if (run === undefined) return undefined;
  return { run, alive: isAlive(run.supervisorPid, 'start.') };
}

/** A full disk, or an editor, may have left something that `writeRunFile` never wrote: the next one replaces it. */
function parseRunFile(text: string): RunFile | undefined {
  try {
    const run = JSON.parse(text) as RunFile | null;
    return typeof run?.supervisorPid === 'number' && Array.isArray(run.workers) ? run : undefined;
  } catch {
    return undefined;
  }
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

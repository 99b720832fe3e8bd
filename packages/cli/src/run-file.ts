// What a running `npm start` says of itself: where its database is, and where its workers answer.

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CliError } from './cli-error.ts';

export interface RunningWorker {
  readonly name: string;
  /** `http://127.0.0.1:9090/health` */
  readonly healthUrl: string;
}

export interface RunFile {
  /** Where it was found. */
  readonly path: string;
  readonly supervisorPid: number;
  readonly databaseUrl: string;
  readonly meiliUrl: string | undefined;
  /** Where its workers look for files to import. */
  readonly fileStoragePath: string | undefined;
  readonly workers: readonly RunningWorker[];
}

export type RunFileSearch =
  | { readonly state: 'running'; readonly run: RunFile }
  /** Left behind by an `npm start` that is gone. */
  | { readonly state: 'stale'; readonly path: string; readonly supervisorPid: number }
  | { readonly state: 'none' };

export interface RunFilePlaces {
  /** Looked through with all above them, nearest first, for `.pulsebox/run.json`. */
  readonly startFolders: readonly string[];
  /** What PULSEBOX_STATE names, as `npm start` has it: then `run.json` is there or nowhere. */
  readonly stateFolder: string | undefined;
}

/**
 * Looks for what a running `npm start` says of itself. One whose process is gone is passed over.
 *
 * @throws CLI_RUN_FILE_INVALID
 */
export async function findRunFile({ startFolders, stateFolder }: RunFilePlaces): Promise<RunFileSearch> {
  const paths = stateFolder === undefined ? startFolders.flatMap(candidates) : [join(stateFolder, RUN_FILE)];
  let stale: RunFileSearch | undefined;
  for (const path of new Set(paths)) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const run = parse(path, text);
    if (isAlive(run.supervisorPid)) return { state: 'running', run };
    stale ??= { state: 'stale', path, supervisorPid: run.supervisorPid };
  }
  return stale ?? { state: 'none' };
}

const RUN_FILE = 'run.json';

function candidates(folder: string): string[] {
  const here = join(folder, '.pulsebox', RUN_FILE);
  return dirname(folder) === folder ? [here] : [here, ...candidates(dirname(folder))];
}

function parse(path: string, text: string): RunFile {
  try {
    const {
      supervisorPid,
      databaseUrl,
      meiliUrl,
      fileStoragePath,
      workers = [],
    } = JSON.parse(text) as Record<string, unknown>;
    if (
      typeof supervisorPid === 'number' &&
      Number.isSafeInteger(supervisorPid) &&
      supervisorPid > 0 &&
      typeof databaseUrl === 'string' &&
      (meiliUrl === undefined || typeof meiliUrl === 'string') &&
      (fileStoragePath === undefined || typeof fileStoragePath === 'string') &&
      Array.isArray(workers) &&
      workers.every(isWorker)
    ) {
      return { path, supervisorPid, databaseUrl, meiliUrl, fileStoragePath, workers };
    }
  } catch {
    // Told below, with the same words: it is not what `npm start` writes.
  }
  throw new CliError(
    'CLI_RUN_FILE_INVALID',
    `expected ${path} to be what \`npm start\` writes, got something else`,
    {
      hint: 'remove the file and start `npm start` again, or set DATABASE_URL',
    },
  );
}

function isWorker(value: unknown): value is RunningWorker {
  if (typeof value !== 'object' || value === null) return false;
  const { name, healthUrl } = value as Record<string, unknown>;
  return typeof name === 'string' && typeof healthUrl === 'string' && URL.canParse(healthUrl);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

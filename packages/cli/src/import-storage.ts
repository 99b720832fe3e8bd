// Puts a file where the workers find it: below FILE_STORAGE_PATH.

import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CliError } from './cli-error.ts';
import { isSet } from './database.ts';
import type { Database } from './database.ts';
import { bytes } from './quantities.ts';
import type { Terminal } from './terminal.ts';

/** What the environment names, or that of a running `npm start`. @throws CLI_FILE_STORAGE */
export function storageDirectory(
  env: Readonly<Record<string, string | undefined>>,
  database: Database,
): string {
  const named = env['FILE_STORAGE_PATH'];
  const directory = isSet(named) ? named.trim() : database.run?.fileStoragePath;
  if (directory !== undefined) return directory;
  throw new CliError('CLI_FILE_STORAGE', 'expected FILE_STORAGE_PATH to be set, but it is not', {
    hint: [
      'it is the directory that this machine and the workers share: set it as the workers have it.',
      'Where there is none, run this beside a worker and hand it the file:',
      'kubectl exec -i deploy/worker -- pulsebox import - --org ORGANISATION < FILE',
    ].join('\n'),
  });
}

export interface PlaceOptions {
  readonly directory: string;
  /** `-`: standard input. */
  readonly file: string;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

export interface PlacedFile {
  /** Below the directory. */
  readonly filePath: string;
  /** It is a copy, made for this import. */
  readonly deleteFile: boolean;
  /** Takes the copy away again. */
  remove(): Promise<void>;
}

const FOLDER = 'imports';
const REDRAW_EVERY_MS = 100;

/** A file that is there already stays where it is; any other is copied. @throws CLI_FILE_STORAGE, CLI_FILE_UNREADABLE */
export async function placeFile(options: PlaceOptions): Promise<PlacedFile> {
  const { directory, file, cwd } = options;
  const root = await realpath(directory).catch((error: unknown) => {
    throw new CliError(
      'CLI_FILE_STORAGE',
      `expected FILE_STORAGE_PATH to be a directory, got "${directory}"`,
      {
        hint: 'set it as the workers have it; it must be mounted here as well',
        cause: error,
      },
    );
  });
  if (file === '-') return await copied(root, process.stdin, 'stdin', undefined, options);
  const path = resolve(cwd, file);
  const found = await stat(path).catch((error: unknown) => {
    throw notAFile(file, errorCode(error) === 'ENOENT' ? 'there is none' : messageOf(error), error);
  });
  if (!found.isFile()) throw notAFile(file, found.isDirectory() ? 'it is a directory' : 'it is none');
  const real = await realpath(path);
  if (real.startsWith(root.endsWith(sep) ? root : root + sep))
    return { filePath: relative(root, real), deleteFile: false, remove: async () => undefined };
  return await copied(root, createReadStream(path), basename(path), found.size, options);
}

async function copied(
  root: string,
  source: NodeJS.ReadableStream,
  name: string,
  size: number | undefined,
  { signal, terminal }: PlaceOptions,
): Promise<PlacedFile> {
  // The ending says what the format is; the rest is for people.
  const filePath = join(FOLDER, `${randomUUID()}-${name.replaceAll(/[^\w.-]/g, '_').slice(-80)}`);
  const target = join(root, filePath);
  const partial = `${target}.partial`;
  let written = 0;
  let drawnAtMs = 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done): void {
      written += chunk.length;
      if (terminal.watched && performance.now() - drawnAtMs > REDRAW_EVERY_MS) {
        drawnAtMs = performance.now();
        terminal.redraw(`copying, ${bytes(written)}${size === undefined ? '' : ` of ${bytes(size)}`}`);
      }
      done(undefined, chunk);
    },
  });
  try {
    await mkdir(join(root, FOLDER), { recursive: true });
    // The worker may be another user; a group that both belong to is enough.
    await pipeline(source, counting, createWriteStream(partial, { flags: 'wx', mode: 0o640 }), { signal });
    await synced(partial);
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    if (signal.aborted) throw error;
    throw unreadable(name, error);
  } finally {
    if (terminal.watched) terminal.redraw('');
  }
  return { filePath, deleteFile: true, remove: async () => rm(target, { force: true }) };
}

/** On the disk before anybody is told of it. */
async function synced(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function notAFile(file: string, why: string, cause?: unknown): CliError {
  return new CliError('CLI_FILE_UNREADABLE', `expected ${file} to be a file that can be read, but ${why}`, {
    hint: 'nothing was requested; a relative path begins at the folder that this is run in',
    ...(cause === undefined ? {} : { cause }),
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function errorCode(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code;
}

function unreadable(file: string, cause: unknown): CliError {
  return new CliError(
    'CLI_FILE_UNREADABLE',
    `the file ${file} cannot be read and put below FILE_STORAGE_PATH: ${messageOf(cause)}`,
    {
      hint: 'nothing was requested; look at the file, and at the room and the rights in that directory',
      cause,
    },
  );
}

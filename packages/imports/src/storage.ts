// Files of imports: below one directory that application and workers share, and nowhere else.

import { constants } from 'node:fs';
import { open, realpath, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { ImportsError } from './imports-error.ts';

export interface StoredFile {
  readonly handle: FileHandle;
  readonly bytes: number;
  readonly modifiedAt: Date;
}

/**
 * Opens a file by its path below `directory`. What leads out of it is refused, by whatever way: an absolute path, `..`,
 * a symbolic link. Close the handle.
 *
 * @throws IMPORTS_PATH_FORBIDDEN, IMPORTS_FILE_MISSING
 */
export async function openStored(directory: string, path: string): Promise<StoredFile> {
  const full = join(directory, checkedPath(path));
  // Opening a pipe would wait for whoever writes into it.
  const handle = await open(full, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw missing(path, error);
  });
  try {
    const found = await handle.stat();
    if (!found.isFile())
      throw forbidden(path, 'a file', found.isDirectory() ? 'a directory' : 'something else');
    // What was opened, not what the path leads to by now: it may have been replaced in between.
    const [root, real] = await Promise.all([realpath(directory), realpath(full)]);
    const same = await stat(real);
    const inside = real.startsWith(root.endsWith(sep) ? root : root + sep);
    if (!inside || same.ino !== found.ino || same.dev !== found.dev)
      throw forbidden(path, 'a file below the directory of files', 'one that leads out of it');
    return { handle, bytes: found.size, modifiedAt: found.mtime };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Removes a file that is an import's own. One that is gone already is no fault. @throws IMPORTS_PATH_FORBIDDEN */
export async function removeStored(directory: string, path: string): Promise<void> {
  const full = join(directory, checkedPath(path));
  const root = await realpath(directory);
  const folder = await realpath(dirname(full)).catch(() => undefined);
  if (folder === undefined) return;
  if (folder !== root && !folder.startsWith(root.endsWith(sep) ? root : root + sep))
    throw forbidden(path, 'a file below the directory of files', 'one that leads out of it');
  // A link is removed, and not what it leads to.
  await rm(full, { force: true });
}

/** The path, if it can be one below any directory. @throws IMPORTS_PATH_FORBIDDEN */
export function checkedPath(path: string): string {
  const stays =
    path !== '' &&
    !path.includes('\0') &&
    !isAbsolute(path) &&
    !path.split(/[/\\]/).includes('..') &&
    normalize(path) !== '.';
  if (stays) return path;
  throw forbidden(
    path,
    'a path below the directory of files, relative to it',
    JSON.stringify(path.slice(0, 200)),
  );
}

function forbidden(path: string, expected: string, got: string): ImportsError {
  return new ImportsError('IMPORTS_PATH_FORBIDDEN', `expected ${expected}, got ${got}`, {
    hint: `file_path is ${JSON.stringify(path.slice(0, 200))}; put the file below FILE_STORAGE_PATH and name it from there, for instance uploads/items.ndjson`,
  });
}

/** Faults that pass, such as an answer that a network file system does not give, stay what they are. */
function missing(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'there is none',
    ENOTDIR: 'there is none',
    EACCES: 'it may not be read',
    EPERM: 'it may not be read',
    ELOOP: 'its links go round in a circle',
    ENAMETOOLONG: 'its name is too long',
  };
  const reason = reasons[code];
  if (reason === undefined) return error;
  return new ImportsError(
    'IMPORTS_FILE_MISSING',
    `expected a file at ${JSON.stringify(path)}, but ${reason}`,
    {
      hint: 'every worker must see the same FILE_STORAGE_PATH as whoever puts files there; then retry the import',
      cause: error,
    },
  );
}

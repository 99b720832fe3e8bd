// What there is to apply: migrations in files, and migrations that only code can tell.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { ClientBase } from 'pg';
import { PostgresError } from './postgres-error.ts';

/** A package's migrations: a folder of files, or code where a library brings a schema of its own. */
export type MigrationSet = MigrationFolder | MigrationCode;

/** `0001_words.sql` files, applied in the order of their numbers. */
export interface MigrationFolder {
  readonly name: string;
  readonly directory: URL;
}

/** Migrations that only code can tell, in the order of their numbers. */
export interface MigrationCode {
  readonly name: string;
  readonly migrations: readonly CodeMigration[];
}

/** A schema that a library builds and keeps the version of: whether it is there is asked of it, not of the ledger. */
export interface CodeMigration {
  readonly number: number;
  /** Like a file's name: `0043_pgboss`. */
  readonly name: string;
  /** Changes nothing. Throws when the database holds what this code cannot work with. */
  isApplied(client: ClientBase): Promise<boolean>;
  /** Runs inside a transaction that it must not end, one at a time in a database. */
  apply(client: ClientBase): Promise<void>;
}

export interface Migration {
  readonly set: string;
  readonly number: number;
  readonly name: string;
}

/** What has been applied: checksums by `ledgerKey`. */
export type Ledger = ReadonlyMap<string, string>;

/** A migration with what applies it. */
export interface Step extends Migration {
  readonly checksum: string;
  apply(client: ClientBase): Promise<void>;
  isApplied(client: ClientBase, ledger: Ledger): Promise<boolean>;
}

/** In the order in which they are applied. */
export async function loadSteps(sets: readonly MigrationSet[]): Promise<Step[]> {
  const steps = await Promise.all(
    sets.map(async (set) => ('directory' in set ? fileSteps(set) : codeSteps(set))),
  );
  return steps.flat();
}

async function fileSteps(set: MigrationFolder): Promise<Step[]> {
  const files = (await readdir(set.directory)).filter((file) => file.endsWith('.sql')).toSorted();
  return await Promise.all(files.map(async (file) => fileStep(set, file)));
}

async function fileStep(set: MigrationFolder, file: string): Promise<Step> {
  const sql = await readFile(new URL(file, set.directory), 'utf8');
  const step: Step = {
    set: set.name,
    number: Number.parseInt(file, 10),
    name: file.slice(0, -'.sql'.length),
    checksum: createHash('sha256').update(sql).digest('hex'),
    async apply(client) {
      await client.query(sql);
    },
    isApplied: async (_client, ledger) => isRecorded(step, ledger),
  };
  return step;
}

function codeSteps(set: MigrationCode): Step[] {
  return set.migrations.map((migration) => ({
    set: set.name,
    number: migration.number,
    name: migration.name,
    checksum: 'code',
    apply: async (client) => migration.apply(client),
    isApplied: async (client) => migration.isApplied(client),
  }));
}

export function ledgerKey(migration: Pick<Migration, 'set' | 'number'>): string {
  return `${migration.set}/${migration.number}`;
}

function isRecorded(step: Step, ledger: Ledger): boolean {
  const checksum = ledger.get(ledgerKey(step));
  if (checksum === undefined || checksum === step.checksum) return checksum !== undefined;
  throw new PostgresError(
    'POSTGRES_MIGRATION_CHANGED',
    `migration ${step.set}/${step.name} was edited after it was applied to this database`,
    { hint: 'restore the file as it was released and put the change into a migration with the next number' },
  );
}

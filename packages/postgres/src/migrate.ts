// Brings a database to the schema this code expects, safely with any number of replicas at once.

import pg from 'pg';
import type { Client, ClientConfig } from 'pg';
import { ledgerKey, loadSteps } from './migration-set.ts';
import type { Migration, MigrationSet, Step } from './migration-set.ts';
import { PostgresError } from './postgres-error.ts';

export interface MigrationStatus {
  readonly applied: readonly Migration[];
  readonly pending: readonly Migration[];
}

/** The oldest server that Pulsebox is tested on; unlogged sequences came with 15. */
const OLDEST_SERVER_VERSION = 150_000;

/** Any constant that is the same for all who migrate; it is taken inside each transaction, so it works through a pooler. */
const ADVISORY_LOCK_KEY = '8101914125081122';

const LOCK = `select pg_advisory_xact_lock(${ADVISORY_LOCK_KEY})`;

/** One row per applied migration. Created here, not by a migration, since it records them. */
const CREATE_LEDGER = `
  create schema if not exists pulsebox;
  create table if not exists pulsebox.migration (
    set_name   text not null,
    number     integer not null,
    name       text not null,
    checksum   text not null,
    applied_at timestamptz not null default now(),
    primary key (set_name, number)
  )`;

const SELECT_LEDGER = `
  select set_name, number, checksum from pulsebox.migration order by set_name, number`;

const LEDGER_EXISTS = `select to_regclass('pulsebox.migration') is not null as present`;

/** The conflict is that of a schema that code found gone, and made once more. */
const UPSERT_LEDGER = `
  insert into pulsebox.migration (set_name, number, name, checksum) values ($1, $2, $3, $4)
  on conflict (set_name, number) do update set applied_at = now()`;

/**
 * Applies what is pending, each migration in a transaction of its own under an advisory lock, and returns what it
 * applied: two processes that migrate at once apply each migration once.
 *
 * @throws POSTGRES_VERSION_UNSUPPORTED, POSTGRES_MIGRATION_CHANGED, POSTGRES_MIGRATION_FAILED
 */
export async function migrate(
  connection: ClientConfig,
  sets: readonly MigrationSet[],
): Promise<MigrationStatus> {
  const steps = await loadSteps(sets);
  return await withClient(connection, async (client) => {
    await assertServerVersion(client);
    await createLedger(client);
    const appliedNow: Migration[] = [];
    for (const step of steps) {
      if (await applyOnce(client, step)) appliedNow.push(step);
    }
    return { applied: appliedNow, pending: [] };
  });
}

/** Says what `migrate` would apply, and changes nothing. @throws POSTGRES_MIGRATION_CHANGED */
export async function migrationStatus(
  connection: ClientConfig,
  sets: readonly MigrationSet[],
): Promise<MigrationStatus> {
  const steps = await loadSteps(sets);
  return await withClient(connection, async (client) => {
    const ledger = await readLedger(client);
    const status = { applied: [] as Migration[], pending: [] as Migration[] };
    for (const step of steps) {
      const there = await step.isApplied(client, ledger);
      (there ? status.applied : status.pending).push(step);
    }
    return status;
  });
}

/**
 * For a worker at its start: it never migrates, it only refuses to run on a schema that is not there yet.
 *
 * @throws POSTGRES_MIGRATIONS_PENDING
 */
export async function assertMigrated(connection: ClientConfig, sets: readonly MigrationSet[]): Promise<void> {
  const { pending } = await migrationStatus(connection, sets);
  if (pending.length === 0) return;
  throw new PostgresError(
    'POSTGRES_MIGRATIONS_PENDING',
    `the database lacks ${pending.length} migration(s): ${pending.map((m) => `${m.set}/${m.name}`).join(', ')}`,
    { hint: 'run `pulsebox migrate` against this database, then start the worker again' },
  );
}

async function createLedger(client: Client): Promise<void> {
  try {
    await inTransaction(client, async () => {
      await client.query(LOCK);
      await client.query(CREATE_LEDGER);
    });
  } catch (error) {
    throw failed('making the list of migrations, pulsebox.migration,', error);
  }
}

async function applyOnce(client: Client, step: Step): Promise<boolean> {
  try {
    return await inTransaction(client, async () => {
      await client.query(LOCK);
      // A lock that DDL cannot have soon must not queue every producer behind it. Set after the advisory lock: waiting
      // for another process that migrates, however long that takes, is no fault.
      await client.query(`set local lock_timeout = '10s'`);
      if (await step.isApplied(client, await readLedger(client))) return false;
      await step.apply(client);
      await client.query(UPSERT_LEDGER, [step.set, step.number, step.name, step.checksum]);
      return true;
    });
  } catch (error) {
    if (error instanceof PostgresError) throw error;
    throw failed(`migration ${step.set}/${step.name}`, error);
  }
}

const AGAIN = 'nothing of it was stored; mend the cause and run `pulsebox migrate` again';
const PRIVILEGES =
  'run `pulsebox migrate` as a role that may: the owner of the database, or one that owns what Pulsebox has made there ' +
  'so far and has `grant create on database`';

function failed(what: string, cause: unknown): PostgresError {
  return new PostgresError(
    'POSTGRES_MIGRATION_FAILED',
    `${what} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    { hint: hintFor(cause), cause },
  );
}

function hintFor(cause: unknown): string {
  if (cause instanceof pg.DatabaseError) return cause.code === '42501' ? PRIVILEGES : AGAIN;
  // Code that migrates knows best what is to be done.
  if (cause instanceof Error && 'hint' in cause && typeof cause.hint === 'string') return cause.hint;
  return AGAIN;
}

async function readLedger(client: Client): Promise<Map<string, string>> {
  const { rows: found } = await client.query<{ present: boolean }>(LEDGER_EXISTS);
  if (found[0]?.present !== true) return new Map();
  const { rows } = await client.query<{ set_name: string; number: number; checksum: string }>(SELECT_LEDGER);
  return new Map(rows.map((row) => [ledgerKey({ set: row.set_name, number: row.number }), row.checksum]));
}

async function assertServerVersion(client: Client): Promise<void> {
  const { rows } = await client.query<{ version: string }>(
    `select current_setting('server_version_num') as version`,
  );
  const version = Number(rows[0]?.version);
  if (version >= OLDEST_SERVER_VERSION) return;
  throw new PostgresError(
    'POSTGRES_VERSION_UNSUPPORTED',
    `expected PostgreSQL 15 or later, got ${Math.trunc(version / 10_000)}`,
    { hint: 'upgrade the server; 15 to 18 are tested' },
  );
}

async function inTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function withClient<T>(connection: ClientConfig, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

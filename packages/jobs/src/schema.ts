// The schema `pgboss`: installed and upgraded by whoever migrates, one at a time, and never by a worker.

import type { CodeMigration, MigrationCode, Queryable } from '@pulsebox/postgres';
import type { ClientBase } from 'pg';
import { getConstructionPlans, getMigrationPlans } from 'pg-boss';
import { JobsError } from './jobs-error.ts';

export const JOBS_SCHEMA = 'pgboss';

/** The version that the release of pg-boss in package.json works with. A test compares it with what pg-boss says. */
export const JOBS_SCHEMA_VERSION = 43;

/** Result: one row. By the catalog's indexes on names, also without a right to the schema. */
const VERSION_TABLE = `
  select c.oid is not null as present
    from (select) as one
    left join pg_namespace n on n.nspname = '${JOBS_SCHEMA}'
    left join pg_class c on c.relnamespace = n.oid and c.relname = 'version'`;

/** One row. */
const INSTALLED_VERSION = `select version from ${JOBS_SCHEMA}.version`;

/** One row: did `pulsebox migrate` of any version install what is there? */
const INSTALLED_BY_US = `
  select exists (select from pulsebox.migration where set_name = 'jobs') as ours`;

const PGBOSS: CodeMigration = {
  number: JOBS_SCHEMA_VERSION,
  name: `00${JOBS_SCHEMA_VERSION}_pgboss`,
  async isApplied(client) {
    const version = await installedVersion(client);
    if (version !== undefined && version > JOBS_SCHEMA_VERSION) throw newer(version);
    return version === JOBS_SCHEMA_VERSION;
  },
  async apply(client) {
    const version = await installedVersion(client);
    if (version === undefined) {
      await client.query(joining(getConstructionPlans(JOBS_SCHEMA)));
      return;
    }
    await assertOurs(client, version);
    await client.query(joining(getMigrationPlans(JOBS_SCHEMA, version)));
  },
};

/** pg-boss's own tables, as a set for `migrate`. */
export const jobsMigrations: MigrationCode = { name: 'jobs', migrations: [PGBOSS] };

/** `undefined`: there is none. @throws JOBS_PRIVILEGE_MISSING */
async function installedVersion(db: Queryable | ClientBase): Promise<number | undefined> {
  const { rows: found } = await db.query<{ present: boolean }>(VERSION_TABLE);
  if (found[0]?.present !== true) return undefined;
  try {
    const { rows } = await db.query<{ version: number }>(INSTALLED_VERSION);
    return rows[0]?.version;
  } catch (error) {
    throw isPrivilegeMissing(error) ? privilegeMissing(error) : error;
  }
}

/**
 * For a worker at its start.
 *
 * @throws JOBS_SCHEMA_MISSING, JOBS_SCHEMA_OLDER, JOBS_SCHEMA_NEWER, JOBS_PRIVILEGE_MISSING
 */
export async function assertSchema(db: Queryable): Promise<void> {
  const version = await installedVersion(db);
  if (version === JOBS_SCHEMA_VERSION) return;
  if (version === undefined) {
    throw new JobsError('JOBS_SCHEMA_MISSING', `the database has no schema ${JOBS_SCHEMA}`, {
      hint: 'run `pulsebox migrate` against this database, then start the worker again',
    });
  }
  if (version > JOBS_SCHEMA_VERSION) throw newer(version);
  throw new JobsError(
    'JOBS_SCHEMA_OLDER',
    `expected version ${JOBS_SCHEMA_VERSION} of the schema ${JOBS_SCHEMA}, got ${version}`,
    { hint: 'run `pulsebox migrate` against this database, then start the worker again' },
  );
}

/** An application of one's own on pg-boss in the same schema would break when its tables change under it. */
async function assertOurs(client: ClientBase, version: number): Promise<void> {
  const { rows } = await client.query<{ ours: boolean }>(INSTALLED_BY_US);
  if (rows[0]?.ours === true) return;
  throw new JobsError(
    'JOBS_SCHEMA_FOREIGN',
    `the schema ${JOBS_SCHEMA} is of version ${version}, and Pulsebox did not install it`,
    {
      hint:
        `an application uses pg-boss here: upgrade it to a release whose schema is ${JOBS_SCHEMA_VERSION}, ` +
        'or give it a schema of its own name, then migrate again',
    },
  );
}

/**
 * pg-boss's plan, as part of a transaction that is open already: without its own BEGIN and COMMIT, and with the
 * indexes that it would build afterwards, concurrently, built inside. Tables of jobs are small; half a migration, or an
 * index left invalid, would be worse than a short lock.
 */
function joining(plan: string): string {
  return plan
    .replaceAll(/^\s*(?:BEGIN|COMMIT);\s*$/gm, '')
    .replaceAll(/^((?:CREATE|DROP)(?: UNIQUE)? INDEX) CONCURRENTLY\b/gm, '$1');
}

function newer(version: number): JobsError {
  return new JobsError(
    'JOBS_SCHEMA_NEWER',
    `expected version ${JOBS_SCHEMA_VERSION} of the schema ${JOBS_SCHEMA}, got ${version}, which is newer`,
    { hint: 'a later Pulsebox has migrated this database: run that one, or one at least as new' },
  );
}

/** The server's code for a right that is lacking. */
export function isPrivilegeMissing(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === '42501';
}

export function privilegeMissing(cause: Error): JobsError {
  return new JobsError(
    'JOBS_PRIVILEGE_MISSING',
    `this role may not work with the schema ${JOBS_SCHEMA}: ${cause.message}`,
    {
      hint:
        `as its owner: grant usage on schema ${JOBS_SCHEMA}, and select, insert, update, delete on all tables in ` +
        'it, to the role',
      cause,
    },
  );
}

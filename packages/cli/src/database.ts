// Which database pulsebox works on: what the environment names, or that of a running `npm start`.

import { resolve } from 'node:path';
import { parseEnvironment } from '@pulsebox/loop';
import { createPool, describeConnection } from '@pulsebox/postgres';
import { connections, databaseVariables } from '@pulsebox/worker-base';
import type { Connections } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import { CliError } from './cli-error.ts';
import type { CliErrorCode } from './cli-error.ts';
import { databaseFault } from './database-fault.ts';
import type { DatabaseFault } from './database-fault.ts';
import { findRunFile } from './run-file.ts';
import type { RunFile, RunFilePlaces } from './run-file.ts';

export type DatabaseSource = 'DATABASE_URL' | 'POSTGRES_HOST' | 'npm start';

export interface Database {
  readonly connections: Connections;
  /** `host:port/database`, without secrets. */
  readonly where: string;
  readonly source: DatabaseSource;
  /** The `npm start` that this database belongs to, if it does. */
  readonly run: RunFile | undefined;
}

export interface DatabaseSearch {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** How long an operator is kept waiting for one statement, in milliseconds. On the client: poolers refuse the setting. */
const STATEMENT_TIMEOUT_MS = 30_000;

/**
 * What the environment names wins; without it, the database of a running `npm start`.
 *
 * @throws CLI_DATABASE_NOT_FOUND, CLI_RUN_FILE_INVALID, LOOP_ENV_INVALID
 */
export async function findDatabase({ env, cwd }: DatabaseSearch): Promise<Database> {
  const named = isSet(env['DATABASE_URL'])
    ? 'DATABASE_URL'
    : isSet(env['POSTGRES_HOST'])
      ? 'POSTGRES_HOST'
      : undefined;
  if (named !== undefined) {
    return { ...connect(env), source: named, run: await runOf({ env, cwd }) };
  }
  const found = await findRunFile(placesOf({ env, cwd }));
  if (found.state === 'running') {
    return {
      ...connect({ ...env, DATABASE_URL: found.run.databaseUrl, DATABASE_DIRECT_URL: undefined }),
      source: 'npm start',
      run: found.run,
    };
  }
  const stale =
    found.state === 'stale'
      ? ` (${found.path} is there, but its \`npm start\`, process ${found.supervisorPid}, is gone)`
      : '';
  throw new CliError(
    'CLI_DATABASE_NOT_FOUND',
    `expected to be told of a database, but none is named${stale}`,
    {
      hint: [
        'give it in one of three ways:',
        '1. DATABASE_URL=postgres://user:password@host:5432/database',
        '2. POSTGRES_HOST, with POSTGRES_PORT, POSTGRES_DB, POSTGRES_USER and POSTGRES_PASSWORD',
        '3. run `npm start` in the checkout: its database is found by itself (PULSEBOX_STATE, if it was started with one)',
      ].join('\n'),
    },
  );
}

export interface PoolLimits {
  /** How long one statement may take, in milliseconds; undefined: as long as it takes. Default 30,000. */
  readonly statementTimeoutMs: number | undefined;
}

/** A few connections, for the caller to end. */
export function openPool(
  database: Database,
  limits: PoolLimits = { statementTimeoutMs: STATEMENT_TIMEOUT_MS },
): Pool {
  const { statementTimeoutMs } = limits;
  return createPool({
    connection: {
      ...database.connections.pooled,
      ...(statementTimeoutMs === undefined ? {} : { query_timeout: statementTimeoutMs }),
    },
    max: 3,
    // The statement that needed the connection says it better.
    onIdleError: () => undefined,
  });
}

/** Opens connections for `work` and closes them. Faults on the way become errors that name the database. */
export async function withPool<T>(
  database: Database,
  work: (pool: Pool) => Promise<T>,
  limits?: PoolLimits,
): Promise<T> {
  const pool = openPool(database, limits);
  try {
    return await namingDatabase(database, () => work(pool));
  } finally {
    await pool.end();
  }
}

/** Runs `work`; an error of the database, or on the way to it, becomes one that says which database, and what to do. */
export async function namingDatabase<T>(database: Database, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw namingFault(error, database);
  }
}

/** The error itself when it is not of the database, nor of the way to it. */
export function namingFault(error: unknown, database: Database): unknown {
  const fault = databaseFault(error, database.where);
  if (fault === undefined) return error;
  return new CliError(codeOf(fault), fault.message, { hint: fault.remedy, cause: error });
}

function codeOf({ kind, away }: DatabaseFault): CliErrorCode {
  if (away) return 'CLI_DATABASE_AWAY';
  if (kind === 'not migrated') return 'CLI_DATABASE_NOT_MIGRATED';
  return kind === 'statement' ? 'CLI_STATEMENT_FAILED' : 'CLI_DATABASE_REFUSED';
}

function connect(env: DatabaseSearch['env']): Pick<Database, 'connections' | 'where'> {
  const config = parseEnvironment(databaseVariables, env);
  const both = connections(config, 'pulsebox');
  return { connections: both, where: describeConnection(both.pooled) };
}

/** An `npm start` beside us, when the database that was named is its own. */
async function runOf(search: DatabaseSearch): Promise<RunFile | undefined> {
  const url = search.env['DATABASE_URL'];
  if (!isSet(url)) return undefined;
  const found = await findRunFile(placesOf(search)).catch(() => undefined);
  return found?.state === 'running' && found.run.databaseUrl === url.trim() ? found.run : undefined;
}

function placesOf({ env, cwd }: DatabaseSearch): RunFilePlaces {
  const state = env['PULSEBOX_STATE'];
  return {
    startFolders: [cwd, import.meta.dirname],
    stateFolder: isSet(state) ? resolve(cwd, state.trim()) : undefined,
  };
}

export function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== '';
}

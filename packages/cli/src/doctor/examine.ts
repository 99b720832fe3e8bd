// Runs all checks, each whatever the others found, and gathers what they say.

import type { Pool } from 'pg';
import { CliError } from '../cli-error.ts';
import { databaseFault } from '../database-fault.ts';
import { findDatabase, openPool } from '../database.ts';
import type { Database, DatabaseSearch } from '../database.ts';
import { faultOf } from '../fault.ts';
import { autovacuum } from './autovacuum.ts';
import type { Check, Patient } from './check.ts';
import { clock } from './clock.ts';
import { connectionRoom } from './connection-room.ts';
import { durability } from './durability.ts';
import { emitterRole } from './emitter-role.ts';
import { checkEnvironment } from './environment.ts';
import { fail, ok, skip } from './finding.ts';
import type { Finding } from './finding.ts';
import { groups } from './groups.ts';
import { heldXmin } from './held-xmin.ts';
import { logDefinition } from './log-definition.ts';
import { migrations } from './migrations.ts';
import { notifications } from './notifications.ts';
import { partitions } from './partitions.ts';
import { privileges } from './privileges.ts';
import { projections } from './projections.ts';
import { searchEngine } from './search-engine.ts';
import { serverVersion } from './server-version.ts';
import { wakeUpTrigger } from './wake-up-trigger.ts';
import { workers } from './workers.ts';
import { writable } from './writable.ts';

const CHECKS: readonly Check[] = [
  serverVersion,
  writable,
  migrations,
  privileges,
  emitterRole,
  logDefinition,
  partitions,
  wakeUpTrigger,
  notifications,
  groups,
  heldXmin,
  durability,
  autovacuum,
  connectionRoom,
  clock,
  projections,
  searchEngine,
  workers,
];

/** A finding, and which check it is of. */
export interface CheckedFinding extends Finding {
  readonly check: string;
}

export interface Examination extends DatabaseSearch {
  readonly longTransactionMinutes: number;
}

/** Never rejects: what cannot be checked is a finding. */
export async function examine(examination: Examination): Promise<readonly CheckedFinding[]> {
  const { env, longTransactionMinutes } = examination;
  const environment = checkEnvironment(env).map(named('environment'));
  let database: Database;
  try {
    database = await findDatabase(examination);
  } catch (error) {
    const { message, hint } = faultOf(error);
    return [...environment, named('database')(fail(message, hint)), ...allSkipped('needs a database')];
  }
  const pool = openPool(database);
  try {
    const fault = await reach(pool, database);
    if (fault !== undefined)
      return [...environment, named('database')(fault), ...allSkipped('needs the database')];
    const found = [...environment, named('database')(ok(`${database.where} answers`))];
    const patient: Patient = { env, database, pool, longTransactionMinutes };
    const schemaThere = await isSchemaThere(pool);
    for (const check of CHECKS) found.push(...(await runCheck(check, patient, schemaThere)));
    return found;
  } finally {
    await pool.end();
  }
}

async function runCheck(check: Check, patient: Patient, schemaThere: boolean): Promise<CheckedFinding[]> {
  if (check.needs === 'schema' && !schemaThere)
    return [named(check.name)(skip('needs the tables: see migrations'))];
  try {
    return [await check.run(patient)].flat().map(named(check.name));
  } catch (error) {
    const fault = databaseFault(error, patient.database.where);
    const { message, hint } =
      fault === undefined ? faultOf(error) : { message: fault.message, hint: fault.remedy };
    return [named(check.name)(fail(`it could not be checked: ${message}`, hint))];
  }
}

/** Undefined: the database answers. */
async function reach(pool: Pool, database: Database): Promise<Finding | undefined> {
  try {
    await pool.query('select 1');
    return undefined;
  } catch (error) {
    const fault = databaseFault(error, database.where);
    const { message, hint } = faultOf(error instanceof CliError ? error : (error as Error));
    return fault === undefined ? fail(message, hint) : fail(fault.message, fault.remedy);
  }
}

/** One row. No index. */
const SCHEMA_THERE = `
  select to_regclass('outbox.event') is not null and to_regclass('outbox.setting') is not null
         and to_regclass('pulsebox.lease') is not null as there`;

async function isSchemaThere(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ there: boolean }>(SCHEMA_THERE);
  return rows[0]?.there === true;
}

function allSkipped(why: string): CheckedFinding[] {
  return CHECKS.map(({ name }) => named(name)(skip(why)));
}

function named(check: string): (finding: Finding) => CheckedFinding {
  return (finding) => ({ check, ...finding });
}

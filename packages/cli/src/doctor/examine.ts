// Runs all checks, each whatever the others found, and gathers what they say.

import type { Pool } from 'pg';
import { findDatabase, namingFault, openPool } from '../database.ts';
import type { Database, DatabaseSearch } from '../database.ts';
import { faultOf } from '../fault.ts';
import { agentRuntimes } from './agent-runtimes.ts';
import { autovacuum } from './autovacuum.ts';
import type { Check, Patient } from './check.ts';
import { clock } from './clock.ts';
import { connectionRoom } from './connection-room.ts';
import { deadLetters } from './dead-letters.ts';
import { durability } from './durability.ts';
import { emitterRole } from './emitter-role.ts';
import { checkEnvironment } from './environment.ts';
import { fail, ok, skip } from './finding.ts';
import type { Finding } from './finding.ts';
import { groups } from './groups.ts';
import { heldXmin } from './held-xmin.ts';
import { logDefinition } from './log-definition.ts';
import { mail } from './mail.ts';
import { migrations } from './migrations.ts';
import { notifications } from './notifications.ts';
import { partitions } from './partitions.ts';
import { privileges } from './privileges.ts';
import { projections } from './projections.ts';
import { pubsub } from './pubsub.ts';
import { retention } from './retention.ts';
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
  deadLetters,
  retention,
  heldXmin,
  durability,
  autovacuum,
  connectionRoom,
  clock,
  projections,
  searchEngine,
  mail,
  pubsub,
  agentRuntimes,
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
    return [...environment, named('database')(fail(message, hint)), ...allSkipped()];
  }
  const pool = openPool(database);
  try {
    const patient: Patient = { env, database, pool, longTransactionMinutes };
    const { finding, there } = await reach(pool, database);
    const found = [...environment, named('database')(finding)];
    for (const check of CHECKS) found.push(...(await runCheck(check, patient, there)));
    return found;
  } finally {
    await pool.end();
  }
}

/** What is there for checks to look at. */
type There = 'nothing' | 'connection' | 'schema';

const MISSING: Readonly<Record<Exclude<There, 'nothing'>, string>> = {
  connection: 'needs a database that answers',
  schema: 'needs the tables: see migrations',
};

async function runCheck(check: Check, patient: Patient, there: There): Promise<CheckedFinding[]> {
  if (check.needs !== 'nothing' && there === 'nothing') return [named(check.name)(skip(MISSING.connection))];
  if (check.needs === 'schema' && there !== 'schema') return [named(check.name)(skip(MISSING.schema))];
  try {
    return [await check.run(patient)].flat().map(named(check.name));
  } catch (error) {
    const { message, hint } = faultOf(namingFault(error, patient.database));
    return [named(check.name)(fail(`it could not be checked: ${message}`, hint))];
  }
}

/** One row. No index. Asks the catalogue, since a role that may not use a schema may not name what is in it either. */
const SCHEMA_THERE = `
  select count(*) = 3 as there
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where (n.nspname, c.relname) in (('outbox', 'event'), ('outbox', 'setting'), ('pulsebox', 'lease'))`;

async function reach(
  pool: Pool,
  database: Database,
): Promise<{ readonly finding: Finding; readonly there: There }> {
  try {
    const { rows } = await pool.query<{ there: boolean }>(SCHEMA_THERE);
    return {
      finding: ok(`${database.where} answers`),
      there: rows[0]?.there === true ? 'schema' : 'connection',
    };
  } catch (error) {
    const { message, hint } = faultOf(namingFault(error, database));
    return { finding: fail(message, hint), there: 'nothing' };
  }
}

function allSkipped(): CheckedFinding[] {
  return CHECKS.map(({ name }) => named(name)(skip(MISSING.connection)));
}

function named(check: string): (finding: Finding) => CheckedFinding {
  return (finding) => ({ check, ...finding });
}

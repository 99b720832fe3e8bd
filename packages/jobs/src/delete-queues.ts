// Removes queues whose owner is gone for good.

import type { Queryable } from '@pulsebox/postgres';
import { JOBS_SCHEMA } from './schema.ts';

export interface DeleteQueuesOptions {
  /** Names of queues that stay. Default: none. */
  readonly keep?: readonly string[];
}

/** One row: whether pg-boss's tables are there. */
const INSTALLED = `select to_regclass('${JOBS_SCHEMA}.queue') is not null as installed`;

/** $1 the beginning of their names, $2 those to keep. One row for each that was removed. All queues are looked at: there are few. */
const DELETE_QUEUES = `
  select ${JOBS_SCHEMA}.delete_queue(name) from ${JOBS_SCHEMA}.queue where starts_with(name, $1) and name <> all($2::text[])`;

/**
 * Removes the queues whose names begin with `prefix`, with all their jobs, in the caller's transaction if it has one.
 * Harmless in a database where jobs were never used. Whoever still sends to one of them is told
 * JOBS_QUEUE_UNKNOWN; `ensureQueue` makes it anew.
 *
 * @returns how many there were
 */
export async function deleteQueues(
  db: Queryable,
  prefix: string,
  { keep = [] }: DeleteQueuesOptions = {},
): Promise<number> {
  const { rows } = await db.query<{ installed: boolean }>(INSTALLED);
  if (rows[0]?.installed !== true) return 0;
  const { rowCount } = await db.query(DELETE_QUEUES, [prefix, keep]);
  return rowCount ?? 0;
}

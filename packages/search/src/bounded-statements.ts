// Statements of this package, each in a transaction of its own that has an end on the server.

import { SinkError } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import { boundedTransaction } from '@pulsebox/postgres';
import pg from 'pg';
import type { Pool, QueryConfig, QueryResult } from 'pg';
import type { WriteContext } from './search-engine.ts';

/**
 * The longest that the server works on one statement, in milliseconds. Renewing a lease waits for a statement that
 * writes under it, so this and a third of the shortest usual lease (15 s) stay below nine tenths of it.
 */
export const STATEMENT_MS = 5_000;

export type Bounded = Pick<WriteContext, 'signal' | 'progress'>;

/** Each query is a transaction: it takes effect before it is answered, or never. */
export function boundedStatements(
  pool: Pool,
  { signal, progress }: Bounded,
  statementMs: number = STATEMENT_MS,
): Queryable {
  const query = (config: string | QueryConfig, values?: unknown[]): Promise<QueryResult> =>
    boundedTransaction(pool, { statementMs, signal, onWaiting: () => progress() }, (db) =>
      db.query(config as string, values),
    );
  return { query } as Queryable;
}

/** The server ended the statement for the time that it took, or the session for the time that nothing came. */
const OUT_OF_TIME: ReadonlySet<unknown> = new Set(['57014', '25P03']);

/** Whether fewer rows might get through. */
export function tookTooLong(error: unknown): boolean {
  return error instanceof pg.DatabaseError && OUT_OF_TIME.has(error.code);
}

/** For a statement that cannot be made smaller: no row is to blame. */
export function databaseSlow(cause: unknown): SinkError {
  return new SinkError('away', 'SEARCH_SINK_AWAY', 'the database takes too long', {
    hint: 'look for what holds locks on the documents or on the rows under the view (pg_stat_activity), and for a view that reads far more than the rows it is asked for; the same is tried again after a while',
    cause,
  });
}

// Queries that end. A connection whose route is lost answers nothing and breaks nothing for a quarter of an hour
// (TCP goes on sending), and a reader that waits for it neither turns nor notices that the route is back.

import type { Queryable } from '@pulsebox/postgres';
import type { Pool, PoolClient, QueryConfig, QueryResult } from 'pg';

/**
 * The pool, with an end to every query. One that is not answered in time rejects, and the pool drops its connection;
 * whether the server carried it out is not known.
 */
export function boundedQueries(pool: Pool, timeoutMs: number): Queryable {
  const query = async (config: string | QueryConfig, values?: unknown[]): Promise<QueryResult> => {
    const client = await pool.connect();
    let failure: Error | undefined;
    try {
      return await answered(client, timeoutMs, () => client.query(config, values));
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      // As pool.query does: after an error the connection is not trusted with another query.
      client.release(failure);
    }
  };
  return { query } as Queryable;
}

/**
 * The timer knows the way to fail, and nothing else, and forgets it in the end. node-postgres's own `query_timeout`
 * lets it hold the query with all its rows: timers grow old, and whatever an old object points to is copied by every
 * garbage collection until a full one. That cost a third more processor time in a drain of batches of 1,000.
 */
async function answered<T>(client: PoolClient, timeoutMs: number, send: () => Promise<T>): Promise<T> {
  const waiting: { fail: ((error: Error) => void) | undefined } = { fail: undefined };
  const onError = (error: Error): void => waiting.fail?.(error);
  const timer = setTimeout(() => waiting.fail?.(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  // Not `once`: behind an answer PgBouncer sends two errors in one packet, its server's last words and its own. Before
  // the promise of the answer has run on, nobody else listens, and the second would be an uncaught exception.
  client.on('error', onError);
  try {
    return await new Promise<T>((resolve, reject) => {
      waiting.fail = reject;
      send().then(resolve, reject);
    });
  } finally {
    waiting.fail = undefined;
    clearTimeout(timer);
    client.off('error', onError);
  }
}

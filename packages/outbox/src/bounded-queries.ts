// Queries that end. A connection whose route is lost answers nothing and breaks nothing for a quarter of an hour
// (TCP goes on sending), and a reader that waits for it neither turns nor notices that the route is back.

import { answered, connected } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool, QueryConfig, QueryResult } from 'pg';

/**
 * The pool, with an end to every query. One that is not answered in time rejects, and the pool drops its connection;
 * whether the server carried it out is not known.
 *
 * @param onWaiting called four times a second while an answer is waited for: the wait has an end, so it is no stall
 */
export function boundedQueries(pool: Pool, timeoutMs: number, onWaiting?: () => void): Queryable {
  const query = async (config: string | QueryConfig, values?: unknown[]): Promise<QueryResult> => {
    const client = await connected(pool, onWaiting);
    let failure: Error | undefined;
    try {
      return await answered(client, { timeoutMs, onWaiting }, () => client.query(config, values));
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

// Queries that end. A connection whose route is lost answers nothing and breaks nothing for a quarter of an hour
// (TCP goes on sending), and a reader that waits for it neither turns nor notices that the route is back.

import type { Queryable } from '@pulsebox/postgres';
import type { Pool, QueryConfig, QueryResult } from 'pg';

/**
 * The pool, with an end to every query. One that is not answered in time rejects, and the pool drops its connection;
 * whether the server carried it out is not known.
 */
export function boundedQueries(pool: Pool, timeoutMs: number): Queryable {
  const query = (config: string | QueryConfig, values?: unknown[]): Promise<QueryResult> => {
    const given = typeof config === 'string' ? { text: config } : config;
    // node-postgres takes it from each query; its types know it of whole connections only.
    const bounded: QueryConfig & { query_timeout: number } = { ...given, query_timeout: timeoutMs };
    return pool.query(bounded, values);
  };
  return { query } as Queryable;
}

// What pg-boss sends its SQL through: our pool, or a transaction of the caller's.

import { AsyncLocalStorage } from 'node:async_hooks';
import { answered, boundedTransaction, connected } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import pg from 'pg';
import type { Pool, QueryResult } from 'pg';
import type { ConnectionOptions } from 'pg-boss';

export type Database = NonNullable<ConnectionOptions['db']>;

/** How long an answer may take: a database that answers nothing must not make a loop of jobs stuck. */
export const STATEMENT_MS = 10_000;
/** With what a bounded transaction adds for the way, its answer is waited for as long. */
const BOUNDED_STATEMENT_MS = 7_000;
/** Maintenance deletes in bulk and rebuilds indexes. */
const MAINTENANCE_MS = 600_000;

const patience = new AsyncLocalStorage<number>();

/** Statements of `work` have the time that maintenance needs. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  return await patience.run(MAINTENANCE_MS, work);
}

/**
 * Text without values may be several statements with their own BEGIN and COMMIT. They go out as one message, so that a
 * pooler keeps them together; one that fails leaves its connection inside a transaction that has to be ended before
 * somebody else gets the connection.
 */
export function throughPool(pool: Pool): Database {
  return {
    async executeSql(text, values) {
      const timeoutMs = patience.getStore() ?? STATEMENT_MS;
      const client = await connected(pool, undefined);
      let broken: Error | undefined;
      const send = async (sql: string, parameters?: unknown[]): Promise<QueryResult> =>
        answered(client, { timeoutMs }, async () => client.query(sql, parameters));
      try {
        return await send(text, values);
      } catch (error) {
        // After an error of the server the connection can roll back; any other leaves it in an unknown state.
        if (!(error instanceof pg.DatabaseError)) broken = asError(error);
        else await send('rollback').catch((reason: unknown) => (broken = asError(reason)));
        throw error;
      } finally {
        client.release(broken);
      }
    },
  };
}

/**
 * Each statement in a transaction that ends on the server before it is given up here. A fetch by itself, held up on a
 * route that was lost for a while, took jobs when it arrived, for a loop that had long given it up: they stood still
 * until their heartbeat was missed, which cost them an attempt. What settles an attempt needs none: it may come late.
 */
export function throughTransactions(pool: Pool): Database {
  return {
    executeSql: async (text, values) =>
      boundedTransaction(pool, { statementMs: BOUNDED_STATEMENT_MS }, async (db) => db.query(text, values)),
  };
}

export function throughClient(client: Queryable): Database {
  return { executeSql: async (text, values) => client.query(text, values) };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

// What pg-boss sends its SQL through: our pool, or a transaction of the caller's.

import type { Queryable } from '@pulsebox/postgres';
import type { ClientBase, Pool, QueryResult } from 'pg';
import type { ConnectionOptions } from 'pg-boss';

export type Database = NonNullable<ConnectionOptions['db']>;

/** A pg client inside a transaction that its owner will commit or roll back. */
export type TransactionClient = ClientBase;

export function throughPool(pool: Pool): Database {
  return {
    executeSql: async (text, values) =>
      values === undefined || values.length === 0 ? script(pool, text) : pool.query(text, values),
  };
}

export function throughClient(client: Queryable | TransactionClient): Database {
  return { executeSql: async (text, values) => client.query(text, values) };
}

/**
 * Text without values may be several statements with their own BEGIN and COMMIT. They go out as one message, so that a
 * pooler keeps them together; one that fails leaves its connection inside a transaction that has to be ended before
 * somebody else gets the connection.
 */
async function script(pool: Pool, text: string): Promise<QueryResult> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await client.query(text);
  } catch (error) {
    await client.query('rollback').catch((rollbackError: Error) => {
      broken ??= rollbackError;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

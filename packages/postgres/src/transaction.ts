// A transaction that is either committed for sure or an error.

import type { Pool, PoolClient } from 'pg';
import { PostgresError } from './postgres-error.ts';

/**
 * Runs `work` between BEGIN and COMMIT on one connection of the pool.
 *
 * A COMMIT of a transaction that has failed answers `ROLLBACK` without an error, for instance when `work` swallowed
 * the error of a statement. node-postgres passes that on as success; here it is an error.
 *
 * @throws POSTGRES_COMMIT_ROLLED_BACK when the server rolled back instead of committing.
 */
export async function transaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    const { command } = await client.query('commit');
    if (command !== 'COMMIT') {
      throw new PostgresError(
        'POSTGRES_COMMIT_ROLLED_BACK',
        `the server answered ${command} to COMMIT: nothing was stored`,
        {
          hint: 'a statement in the transaction failed and its error was swallowed; let it reach transaction()',
        },
      );
    }
    return result;
  } catch (error) {
    // A rollback that fails leaves a connection in an unknown state; releasing it with an error destroys it.
    await client.query('rollback').catch((rollbackError: Error) => {
      broken ??= rollbackError;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

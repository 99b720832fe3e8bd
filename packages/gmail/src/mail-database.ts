// The database as a sync uses it: every wait for it has an end, and says that it waits. A worker that freezes in the middle
// of a transaction keeps nobody waiting either, since the server ends it.

import { SinkError } from '@pulsebox/outbox';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import pg from 'pg';
import type { Pool, PoolClient } from 'pg';

/**
 * The longest that the server works on one statement, in milliseconds. The lease of a mailbox cannot be renewed while a
 * transaction writes under it, so this stays well below the shortest usual one.
 */
const STATEMENT_MS = 5_000;

/** Of a statement by itself, in milliseconds. */
const ANSWER_MS = 10_000;

const WAITING_EVERY_MS = 250;

/** The server ended the statement for the time that it took, or the session for the time that nothing came. */
const OUT_OF_TIME: ReadonlySet<unknown> = new Set(['57014', '25P03']);

/** Single statements. One that is given up may yet take effect: none of ours does harm then. @throws SinkError `away` */
export function singleStatements(pool: Pool, onWaiting?: () => void): Queryable {
  const query = async (text: string, values?: unknown[]): Promise<unknown> => {
    const saying = onWaiting === undefined ? undefined : setInterval(onWaiting, WAITING_EVERY_MS);
    try {
      const statement = { text, query_timeout: ANSWER_MS, ...(values === undefined ? {} : { values }) };
      return await pool.query(statement);
    } catch (error) {
      throw error instanceof Error && error.message === 'Query read timeout' ? databaseAway(error) : error;
    } finally {
      clearInterval(saying);
    }
  };
  return { query } as unknown as Queryable;
}

/** @throws SinkError `away` when the database takes too long; what `work` throws */
export async function mailTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  onWaiting?: () => void,
): Promise<T> {
  try {
    return await boundedTransaction(pool, { statementMs: STATEMENT_MS, onWaiting }, (db) =>
      work(db as unknown as PoolClient),
    );
  } catch (error) {
    throw error instanceof pg.DatabaseError && OUT_OF_TIME.has(error.code) ? databaseAway(error) : error;
  }
}

/** No event is to blame. */
function databaseAway(cause: unknown): SinkError {
  return new SinkError('away', 'GMAIL_DATABASE_AWAY', 'the database takes too long', {
    hint: 'look for what holds locks on app.mail_connections or app.mail_messages (pg_stat_activity); mailboxes are synced again by themselves',
    cause,
  });
}

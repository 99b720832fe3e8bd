// A transaction that ends, on the server before it does here: whoever gave it up may begin the same again at once.

import pg from 'pg';
import type { Pool, QueryConfig, QueryResult } from 'pg';
import { answered, connected } from './answered.ts';
import type { Patience } from './answered.ts';
import { PostgresError } from './postgres-error.ts';
import type { Queryable } from './queryable.ts';

export interface Bounds {
  /** How long the server lets one statement run, waits for locks included, in milliseconds. */
  readonly statementMs: number;
  /** Aborted: the transaction is given up at once. */
  readonly signal?: AbortSignal | undefined;
  /** Called four times a second while an answer is waited for: the wait has an end, so it is no stall. */
  readonly onWaiting?: (() => void) | undefined;
}

/** How long the server waits for the next statement of the transaction, and we for an answer beyond its own time. */
const SLACK_MS = 3_000;

/**
 * Local to the transaction, so it holds behind a pooler in transaction mode too, where a setting of the session would
 * be another client's next. $1 milliseconds for a statement, $2 milliseconds between two.
 */
const SET_BOUNDS = `
  select set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)`;

/**
 * Runs `work` between BEGIN and COMMIT.
 *
 * The server's time for a statement, and for the silence between two, is shorter than ours for an answer. So what is
 * given up here is over there too, or is rolled back for want of a COMMIT: it never takes effect later, beside or after
 * a second attempt. A single statement outside a transaction could: one that was on its way for a minute is carried out
 * when it arrives.
 *
 * @throws whatever `work` does; SQLSTATE 57014 when a statement took too long; `no answer within … ms`; the signal's reason
 * @throws POSTGRES_COMMIT_ROLLED_BACK when the server rolled back instead of committing
 */
export async function boundedTransaction<T>(
  pool: Pool,
  { statementMs, signal, onWaiting }: Bounds,
  work: (db: Queryable) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  // A COMMIT that is on its way is waited for, whatever becomes of the signal: whoever tries again comes after it.
  const unconditional: Patience = { timeoutMs: statementMs + SLACK_MS, onWaiting };
  const patience: Patience = { ...unconditional, signal };
  const client = await connected(pool, onWaiting);
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken ??= error;
  };
  client.on('error', onError);

  async function send(
    waiting: Patience,
    config: string | QueryConfig,
    values?: unknown[],
  ): Promise<QueryResult> {
    try {
      return await answered(client, waiting, () => client.query(config, values));
    } catch (error) {
      // After an error of the server the connection can roll back; any other leaves it in an unknown state.
      if (!(error instanceof pg.DatabaseError)) onError(asError(error));
      throw error;
    }
  }
  const query = (config: string | QueryConfig, values?: unknown[]): Promise<QueryResult> =>
    send(patience, config, values);

  try {
    await query('begin');
    await query(SET_BOUNDS, [String(statementMs), String(SLACK_MS)]);
    // Whoever emits into the log looks whether there is a transaction.
    const getTransactionStatus = (): string | null => client.getTransactionStatus();
    const result = await work({ query, getTransactionStatus } as unknown as Queryable);
    signal?.throwIfAborted();
    const { command } = await send(unconditional, 'commit');
    if (command !== 'COMMIT') throw rolledBack(command);
    return result;
  } catch (error) {
    if (broken === undefined)
      await send(unconditional, 'rollback').catch((reason: unknown) => onError(asError(reason)));
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function rolledBack(command: string): PostgresError {
  return new PostgresError(
    'POSTGRES_COMMIT_ROLLED_BACK',
    `the server answered ${command} to COMMIT: nothing was stored`,
    {
      hint: 'a statement in the transaction failed and its error was swallowed; let it reach the transaction',
    },
  );
}

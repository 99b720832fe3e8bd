// Waiting for an answer of the database, but not for ever. A connection whose route is lost, or whose server is frozen,
// answers nothing and breaks nothing for a quarter of an hour: TCP goes on sending.

import type { Pool, PoolClient } from 'pg';

export interface Patience {
  /** How long the answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Aborted: nobody needs the answer any more. */
  readonly signal?: AbortSignal | undefined;
  /** Called four times a second meanwhile. A wait whose end is sure is no stall, and may say so to whoever watches. */
  readonly onWaiting?: (() => void) | undefined;
}

/** Well below any stale time. */
const WAITING_EVERY_MS = 250;

/**
 * What `send` resolves to, or an error once the patience is over. The connection is in an unknown state then: release
 * it with the error. Whether the server carries out what was sent is not known.
 *
 * The timer knows the way to fail, and nothing else, and forgets it in the end. node-postgres's own `query_timeout`
 * lets it hold the query with all its rows: timers grow old, and whatever an old object points to is copied by every
 * garbage collection until a full one. That cost a third more processor time in a drain of batches of 1,000.
 *
 * @throws Error `no answer within … ms`, the signal's reason, or what ended the connection
 */
export async function answered<T>(
  client: PoolClient,
  { timeoutMs, signal, onWaiting }: Patience,
  send: () => Promise<T>,
): Promise<T> {
  const waiting: { fail: ((error: unknown) => void) | undefined } = { fail: undefined };
  const onError = (error: Error): void => waiting.fail?.(error);
  const onAbort = (): void => waiting.fail?.(signal?.reason);
  const timer = setTimeout(() => waiting.fail?.(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  const saying = onWaiting === undefined ? undefined : setInterval(onWaiting, WAITING_EVERY_MS);
  // Not `once`: behind an answer PgBouncer sends two errors in one packet, its server's last words and its own. Before
  // the promise of the answer has run on, nobody else listens, and the second would be an uncaught exception.
  client.on('error', onError);
  signal?.addEventListener('abort', onAbort);
  try {
    return await new Promise<T>((resolve, reject) => {
      waiting.fail = reject;
      if (signal?.aborted === true) onAbort();
      else send().then(resolve, reject);
    });
  } finally {
    waiting.fail = undefined;
    clearTimeout(timer);
    clearInterval(saying);
    signal?.removeEventListener('abort', onAbort);
    client.off('error', onError);
  }
}

/** A connection of the pool. The pool has a deadline of its own for this, `connectionTimeoutMillis`. */
export async function connected(pool: Pool, onWaiting: (() => void) | undefined): Promise<PoolClient> {
  const saying = onWaiting === undefined ? undefined : setInterval(onWaiting, WAITING_EVERY_MS);
  try {
    return await pool.connect();
  } finally {
    clearInterval(saying);
  }
}

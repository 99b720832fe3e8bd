// Questions that wait for the database to be back: the run itself must not fail where only its victims should.

import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';

const LONGEST_OUTAGE_MS = 30_000;
const RETRY_MS = 50;
const WORKED_MS = 1_000;

/** SQLSTATEs of a server that goes or comes, and of a connection that broke. */
const SERVER_AWAY = /^(57P0[123]|08...)$/;
const SOCKET_BROKEN = /^(ECONNREFUSED|ECONNRESET|EPIPE)$/;
const DRIVER_SAYS = /connection (was )?terminated|connection closed|not queryable|closed the connection/i;

/** Whether the connection broke, or none could be made: what was under way may be done or not. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return SERVER_AWAY.test(code) || SOCKET_BROKEN.test(code) || DRIVER_SAYS.test(error.message);
}

/** The pool, asking again for as long as the database is away. A statement may be carried out twice. */
export function patientQueries(pool: Pool): Queryable {
  const query = async (...given: Parameters<Queryable['query']>): Promise<unknown> =>
    await patiently(async (): Promise<unknown> => pool.query(...given));
  return { query } as unknown as Queryable;
}

export async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  let deadlineMs = performance.now() + LONGEST_OUTAGE_MS;
  for (;;) {
    const beganAtMs = performance.now();
    try {
      return await attempt();
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      // It had a connection, which was cut in the midst of long work: no outage lasts since before that.
      if (performance.now() > beganAtMs + WORKED_MS) deadlineMs = performance.now() + LONGEST_OUTAGE_MS;
      else if (performance.now() > deadlineMs) throw error;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, RETRY_MS);
    });
  }
}

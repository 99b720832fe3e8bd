// Sessions that hold something for the whole run: an xid, or a snapshot.

import type { Pool, PoolClient } from 'pg';
import { isConnectionError, patiently } from './patience.ts';
import type { Pause } from './pause.ts';
import type { Tally } from './producer.ts';
import type { Random } from './random.ts';
import { happen } from './witnessed.ts';

export interface HolderOptions {
  /** The way that nothing befalls but a crash of the server. */
  readonly pool: Pool;
  readonly pause: Pause;
  readonly tally: Tally;
}

const FOR_GOOD_MS = 2 ** 31 - 1;

/** Has an xid from the start, and emits at the very end. A server that dies takes it along: then it begins anew. */
export async function idleWriter({ pool, pause, tally }: HolderOptions, random: Random): Promise<void> {
  await again(pool, pause, ['begin', 'select pg_current_xact_id()'], async (client) => {
    await happen({ client, random, behaviour: 'idle writer' }, null);
    await client.query('commit');
    tally.committed += 1;
  });
}

/** Holds a snapshot, and with it the xmin of the server: nothing that is dead can be removed. */
export async function analyst({ pool, pause }: HolderOptions): Promise<void> {
  const beginning = ['begin isolation level repeatable read', 'select count(*) from outbox.event'];
  await again(pool, pause, beginning, async (client) => {
    await client.query('select count(*) from outbox.event');
    await client.query('commit');
  });
}

/** Looks every second whether its session is still there, and makes another when it is not. */
async function again(
  pool: Pool,
  pause: Pause,
  beginning: readonly string[],
  finish: (client: PoolClient) => Promise<void>,
): Promise<void> {
  for (;;) {
    const client = await patiently(async () => await pool.connect());
    client.on('error', ignore);
    try {
      for (const statement of beginning) await client.query(statement);
      while (await pause(1_000)) await client.query('select 1');
      await finish(client);
      client.release(true);
      return;
    } catch (error) {
      client.release(true);
      if (!isConnectionError(error)) throw error;
    }
  }
}

/** Not even a crash ends it: prepared at the start, its xid stays open until somebody decides about it. */
export async function forgottenPreparedTransaction(
  { pool, pause, tally }: HolderOptions,
  random: Random,
): Promise<void> {
  while (!(await patiently(async () => await prepare(pool, random)))) if (!(await pause(100))) return;
  await pause(FOR_GOOD_MS);
  await patiently(async () => await pool.query(`commit prepared '${FORGOTTEN}'`)).catch((error: unknown) => {
    // Committed by an attempt whose answer was lost.
    if ((error as { code?: unknown }).code !== '42704') throw error;
  });
  tally.committed += 1;
}

const FORGOTTEN = 'forgotten';

/** False: the server would not, because the transaction woke readers by a NOTIFY, and such a one cannot be prepared. */
async function prepare(pool: Pool, random: Random): Promise<boolean> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await happen({ client, random, behaviour: 'forgotten' }, null);
    await client.query(`prepare transaction '${FORGOTTEN}'`);
    return true;
  } catch (error) {
    // By an attempt whose answer was lost.
    if ((error as { code?: unknown }).code === '42710') return true;
    if (!refusedToPrepare(error)) throw error;
    return false;
  } finally {
    client.release(true);
  }
}

export function refusedToPrepare(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '0A000';
}

function ignore(): void {
  // The next statement on that connection reports the same.
}

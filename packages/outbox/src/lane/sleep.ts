// How a reader rests: it polls closely while events keep coming, and sleeps until woken when they stop.

import type { Queryable } from '@pulsebox/postgres';

/**
 * Says that a reader sleeps for $1 ms, so that producers notify. Result: the deadline in force, in ms since 1970.
 * No index; neither an xid nor WAL. Never shortens the sleep that another reader has announced.
 */
export const ANNOUNCE_SLEEP = `
  select setval('outbox.sleeping_until', greatest(
    (select last_value from outbox.sleeping_until),
    (extract(epoch from clock_timestamp()) * 1000)::bigint + $1
  ))`;

export async function announceSleep(db: Queryable, ms: number): Promise<void> {
  await db.query(ANNOUNCE_SLEEP, [Math.ceil(ms)]);
}

export interface RestSchedule {
  /** The longest rest between two looks, in milliseconds. */
  readonly longestMs: number;
  /** Whether producers can wake this reader. */
  readonly notified: boolean;
}

/** While the last event is younger than this, the next is expected soon: look often, and have nobody notify. */
const CLOSE_POLLING_FOR_MS = 25;
const CLOSE_POLL_MS = 1.5;

export type Rest = { readonly ms: number; readonly asleep: boolean };

/**
 * How long to rest after an empty look, by how long it has been quiet.
 *
 * Once quiet, rests double from a few milliseconds: a transaction that had written its event before the sleep was
 * announced does not notify, and is found after about as long again as it took to commit.
 */
export function nextRest(quietMs: number, schedule: RestSchedule): Rest {
  if (quietMs < CLOSE_POLLING_FOR_MS)
    return { ms: Math.min(CLOSE_POLL_MS, schedule.longestMs), asleep: false };
  return { ms: Math.min(Math.max(4, quietMs / 2), schedule.longestMs), asleep: schedule.notified };
}

// How a reader rests after an empty look: closely polling, or asleep until producers wake it.

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

export interface RestOptions {
  readonly db: Queryable;
  /** The longest rest while nothing can wake the reader, in milliseconds. */
  readonly pollMs: number;
  /** The longest rest while producers wake it, in milliseconds. */
  readonly idleWaitMs: number;
  /** Whether producers can wake it at present. */
  readonly notified: () => boolean;
  /** In milliseconds, from any start. Default: `performance.now`. */
  readonly now?: () => number;
}

export interface Rests {
  /** A look found events. */
  found(): void;
  /** They are delivered. */
  delivered(): void;
  /** How long to rest after a look that found nothing, in milliseconds. Announces the sleep where that is due. */
  afterEmptyLook(): Promise<number>;
  /** The database was away, or may have been: what was announced may be gone with it. */
  doubt(): void;
}

const CLOSE_POLL_MS = 1.5;
/** Polling closely ends when the last event is as old as this: the next is not expected soon any more. */
const CLOSE_POLLING_FOR_MS = 25;
/**
 * Where producers can notify, polling closely pays only while events are closer together than this: a gap of g is
 * g/2 looks, and a notification is one.
 */
const CLOSE_GAP_MS = 6;
/** The weight of the newest gap in the mean of them. */
const NEWEST = 1 / 8;
const SHORTEST_SLEEP_MS = 4;
/** While events come, even a sleeper looks so often by itself: a producer may have been told not to notify. */
const UNTOLD_FOR_MS = 50;
/** The announcement is made again so long before it ends: clocks are two, and the query takes its time. */
const ANNOUNCED_BEYOND_MS = 1_000;
const RENEWED_BEFORE_MS = 500;

/**
 * The rests of one reader.
 *
 * A transaction that had written its event before the sleep was announced does not notify when it commits. So a rest
 * is no longer than half the time for which the sleep has been announced without a gap: such an event is found after
 * about half as long again as it took to commit. How long it has been quiet does not tell: a reader that stood by for an
 * hour, or could not be notified, announces its sleep for the first time.
 */
export function createRests(options: RestOptions): Rests {
  const { db, idleWaitMs, now = () => performance.now() } = options;
  let lastEventAt = now();
  /** From an event to the next, of those that had to be waited for. */
  let meanGapMs = CLOSE_POLLING_FOR_MS;
  let waited = false;
  let announced: { readonly since: number; until: number } | undefined;

  /** Resolves to whether it had been announced before, without a gap. */
  async function announce(at: number): Promise<boolean> {
    const forMs = idleWaitMs + ANNOUNCED_BEYOND_MS;
    await announceSleep(db, forMs);
    const before = announced;
    announced = { since: before?.since ?? now(), until: at + forMs - RENEWED_BEFORE_MS };
    return before !== undefined;
  }

  return {
    found(): void {
      // Without an empty look in between there was no gap, however long the handler took.
      const gapMs = waited ? Math.min(now() - lastEventAt, CLOSE_POLLING_FOR_MS) : 0;
      meanGapMs += (gapMs - meanGapMs) * NEWEST;
      waited = false;
    },
    delivered(): void {
      lastEventAt = now();
    },
    async afterEmptyLook(): Promise<number> {
      waited = true;
      const at = now();
      const notified = options.notified();
      const longestMs = notified ? idleWaitMs : options.pollMs;
      const quietMs = at - lastEventAt;
      if (quietMs < CLOSE_POLLING_FOR_MS && (!notified || meanGapMs < CLOSE_GAP_MS))
        return Math.min(CLOSE_POLL_MS, longestMs);
      if (announced !== undefined && announced.until < at) announced = undefined;
      const announcedMs = announced === undefined ? 0 : at - announced.since;
      const wishedMs = notified
        ? Math.min(announcedMs / 2, Math.max(quietMs / 2, UNTOLD_FOR_MS))
        : quietMs / 2;
      const restMs = Math.min(Math.max(SHORTEST_SLEEP_MS, wishedMs), longestMs);
      if (!notified || (announced !== undefined && at + restMs < announced.until)) return restMs;
      // Not announced until now: look once more, since what was committed meanwhile did not notify.
      return (await announce(at)) ? restMs : 1;
    },
    doubt(): void {
      announced = undefined;
    },
  };
}

// One lane of a group for as long as its lease is held: the cursor in memory, the batch at hand, the one read ahead.

import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { HeldLease, HeldLeaseEvents, Queryable } from '@pulsebox/postgres';
import type { Cursor } from './cursor.ts';
import { readBatch } from './read-batch.ts';
import type { ReadBatch } from './read-batch.ts';
import { laneLeaseName, loadCursor, pruneCursors, storeCursor } from './store-cursor.ts';
import type { LaneOfGroup, StoreOutcome, StoredCursor } from './store-cursor.ts';

export interface LaneSessionOptions {
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly holder: string;
  readonly leaseTtlMs: number;
  readonly batchSize: number;
}

export type OpenedSession =
  | { readonly opened: true; readonly session: LaneSession }
  | { readonly opened: false; readonly heldBy: string; readonly expiresInMs: number };

export interface LaneSession {
  readonly lease: HeldLease;
  /** The batch after the cursor: the one read ahead if there is one. The same one until it is advanced or forgotten. */
  current(): Promise<ReadBatch>;
  /** Starts to read what follows the batch while the batch is being handled. */
  readAhead(batch: ReadBatch): void;
  /** Stores the cursor behind the batch. Fenced: the lease was lost and nothing is stored. */
  advance(batch: ReadBatch): Promise<StoreOutcome>;
  /** After a failure: what was read is read again, from the cursor as it stands. */
  forget(): void;
  /** Gives the lease back. Idempotent. */
  close(): Promise<void>;
}

/** Obsolete cursor rows are removed once this many have gathered: one small delete instead of one a batch. */
const PRUNE_EVERY_BATCHES = 200;

/** Asks for the lane's lease, and reads where the group stands if it is granted. */
export async function openLaneSession(
  options: LaneSessionOptions,
  events: HeldLeaseEvents,
): Promise<OpenedSession> {
  const { db, lane } = options;
  const request = { name: laneLeaseName(lane), holder: options.holder, ttlMs: options.leaseTtlMs };
  const requestedAtMs = performance.now();
  const attempt = await acquireLease(db, request);
  if (!attempt.acquired) return { opened: false, heldBy: attempt.heldBy, expiresInMs: attempt.expiresInMs };
  const lease = holdLease(db, { ...request, token: attempt.token, requestedAtMs }, events);
  try {
    const stored = await loadCursor(db, lane);
    if (stored === undefined) throw new Error(`group ${lane.group} has no cursor for lane ${lane.lane}`);
    // Rows under an older token stay in force until the first of this one; batches are counted anew.
    return {
      opened: true,
      session: laneSession(options, lease, { ...stored, token: attempt.token, batch: 0 }),
    };
  } catch (error) {
    await lease.release().catch(() => undefined);
    throw error;
  }
}

function laneSession(options: LaneSessionOptions, lease: HeldLease, start: StoredCursor): LaneSession {
  const { db, lane, batchSize } = options;
  let stored: StoredCursor = start;
  /** A store ended in an error: whether the server has it is known only to the server. */
  let inDoubt = false;
  let reading: { readonly from: Cursor; readonly batch: Promise<ReadBatch> } | undefined;

  function read(from: Cursor): Promise<ReadBatch> {
    if (reading?.from === from) return reading.batch;
    const batch = readBatch(db, from, batchSize);
    // Whoever awaits it gets the error; read ahead and then forgotten, nobody does.
    batch.catch(() => undefined);
    reading = { from, batch };
    return batch;
  }

  /** Assuming that it was not stored would insert the same (token, batch) again, and fail on its key for ever. */
  async function settleDoubt(): Promise<void> {
    const found = await loadCursor(db, lane);
    if (found === undefined) throw new Error(`group ${lane.group} has no cursor for lane ${lane.lane}`);
    stored = found.token === lease.token ? found : { ...found, token: lease.token, batch: 0 };
    inDoubt = false;
  }

  return {
    lease,
    async current(): Promise<ReadBatch> {
      if (inDoubt) await settleDoubt();
      const batch = await read(stored.cursor);
      if (batch.events.length === 0) {
        // An empty look is worth nothing later, but for where to look from; the stored cursor misses nothing either.
        reading = undefined;
        stored = { ...stored, cursor: batch.next };
      }
      return batch;
    },
    readAhead(batch): void {
      void read(batch.next);
    },
    async advance(batch): Promise<StoreOutcome> {
      const next: StoredCursor = {
        cursor: batch.next,
        token: lease.token,
        batch: stored.batch + 1,
        delivered: stored.delivered + batch.events.length,
      };
      inDoubt = true;
      const outcome = await storeCursor(db, lane, next);
      inDoubt = false;
      if (!outcome.advanced) return outcome;
      stored = next;
      if (next.batch % PRUNE_EVERY_BATCHES === 1) await pruneCursors(db, lane, next);
      return outcome;
    },
    forget(): void {
      reading = undefined;
    },
    async close(): Promise<void> {
      const underWay = reading?.batch.catch(() => undefined);
      reading = undefined;
      // A read that is under way holds a connection: closed means that it is given back, too.
      await Promise.all([underWay, lease.release()]);
    },
  };
}

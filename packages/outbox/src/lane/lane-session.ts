// One lane of a group for as long as its lease is held: the cursor in memory, the batch at hand, the one read ahead.

import { acquireLease, holdLease } from '@pulsebox/postgres';
import type { HeldLease, HeldLeaseEvents, Queryable } from '@pulsebox/postgres';
import type { Cursor } from '../read/cursor.ts';
import { storeCursorAndPark } from '../parked/park.ts';
import type { EventToPark } from '../parked/park.ts';
import { fitting } from '../log/event-rows.ts';
import { loadLaneState } from '../lease/lane-state.ts';
import type { LaneState } from '../lease/lane-state.ts';
import { readBatch } from '../read/read-batch.ts';
import type { ReadBatch } from '../read/batch.ts';
import { readToBarrier } from '../read/read-to-barrier.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import { loadCursor, pruneCursors, storeCursor } from '../lease/store-cursor.ts';
import type { LaneOfGroup } from '../lease/lane-of-group.ts';
import type { StoreOutcome, StoredCursor } from '../lease/store-cursor.ts';

export interface LaneSessionOptions {
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly holder: string;
  readonly leaseTtlMs: number;
  readonly batchSize: number;
  /** Of the JSON of a batch, in characters. */
  readonly batchCharacters: number;
  /** Stores the cursor and parks events, both or neither. Default: in one statement, and nothing else with them. */
  readonly storeAndPark?: (stored: StoredCursor, parking: readonly EventToPark[]) => Promise<StoreOutcome>;
}

export type OpenedSession =
  | { readonly opened: true; readonly session: LaneSession }
  | { readonly opened: false; readonly heldBy: string; readonly expiresInMs: number };

export interface LaneSession {
  readonly lease: HeldLease;
  /** Of how many lanes this is one, and whether it stops at a barrier: then nothing may be in flight once it is there. */
  readonly state: LaneState;
  /** The last reader of the lane did not give it back: it died, or lost it. */
  readonly tookOver: boolean;
  /** Of the cursor. */
  readonly position: number;
  /**
   * The batch after the cursor: the one read ahead if there is one. The same one until it is advanced or forgotten.
   * `limit`: the most late and the most new events of it, the batch size unless it is given.
   */
  current(limit?: number): Promise<ReadBatch>;
  /** Starts to read what follows the batch while the batch is being handled. */
  readAhead(batch: ReadBatch): void;
  /** Stores the cursor behind the batch, and parks events of it. Fenced: the lease was lost and nothing is stored. */
  advance(batch: ReadBatch, parking: readonly EventToPark[]): Promise<StoreOutcome>;
  /** Parked events of the lane were delivered: counted with the next cursor, for people. */
  countDelivered(events: number): void;
  /** After a failure: what was read is read again, from the cursor as it stands. */
  forget(): void;
  /** Gives the lease back; to whoever asked for it alone, for so many milliseconds. Idempotent. */
  close(reserveForMs?: number): Promise<void>;
}

/** A lane that walks over events of others stores how far it is, so that it holds back neither figures nor retention. */
const STORE_WALK_EVERY_MS = 1_000;

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
    // Before the cursor: lanes that change in between are at the barrier that was seen here.
    const state = await loadLaneState(db, lane, attempt.token);
    if (state === undefined) {
      await lease.release();
      return { opened: false, heldBy: 'nobody', expiresInMs: 0 };
    }
    const stored = await loadCursor(db, lane);
    if (stored === undefined) throw new Error(`group ${lane.group} has no cursor for lane ${lane.lane}`);
    // Rows under an older token stay in force until the first of this one; batches are counted anew.
    return {
      opened: true,
      session: laneSession(options, state, attempt.tookOver, lease, {
        ...stored,
        token: attempt.token,
        batch: 0,
      }),
    };
  } catch (error) {
    await lease.release().catch(() => undefined);
    throw error;
  }
}

function laneSession(
  options: LaneSessionOptions,
  state: LaneState,
  tookOver: boolean,
  lease: HeldLease,
  start: StoredCursor,
): LaneSession {
  const { db, lane, batchSize, batchCharacters } = options;
  const { slice, barrier } = state;
  const storeAndPark =
    options.storeAndPark ?? ((next, parking) => storeCursorAndPark(db, lane, next, parking));
  let stored: StoredCursor = start;
  /** The cursor in force on the server: the one in memory is ahead of it after looks without events. */
  let inForce: Cursor = start.cursor;
  let storedAtMs = performance.now();
  /** A store ended in an error: whether the server has it is known only to the server. */
  let inDoubt = false;
  /** Events as large as the last ones that fit into a batch. */
  let fits = Infinity;
  let reading: { readonly from: Cursor; readonly batch: Promise<ReadBatch> } | undefined;

  function read(from: Cursor, limit: number): Promise<ReadBatch> {
    if (reading?.from === from) return reading.batch;
    const most = { events: Math.min(limit, fits), characters: batchCharacters };
    const batch = measured(
      barrier === null ? readBatch(db, from, most, slice) : readToBarrier(db, from, barrier, most, slice),
      limit,
    );
    // Whoever awaits it gets the error; read ahead and then forgotten, nobody does.
    batch.catch(() => undefined);
    reading = { from, batch };
    return batch;
  }

  async function measured(batch: Promise<ReadBatch>, limit: number): Promise<ReadBatch> {
    try {
      const { events, size } = await batch;
      if (events.length > 0) fits = fitting(events.length, size, batchCharacters);
    } catch {
      // So many, so large, may be more than the server can send in time: the next try asks for fewer.
      fits = Math.max(1, Math.floor(Math.min(limit, fits) / 4));
    }
    return await batch;
  }

  /** Assuming that it was not stored would insert the same (token, batch) again, and fail on its key for ever. */
  async function settleDoubt(): Promise<void> {
    const found = await loadCursor(db, lane);
    if (found === undefined) throw new Error(`group ${lane.group} has no cursor for lane ${lane.lane}`);
    stored = found.token === lease.token ? found : { ...found, token: lease.token, batch: 0 };
    inForce = stored.cursor;
    inDoubt = false;
  }

  async function store(next: StoredCursor, parking: readonly EventToPark[]): Promise<StoreOutcome> {
    inDoubt = true;
    const outcome =
      parking.length === 0 ? await storeCursor(db, lane, next) : await storeAndPark(next, parking);
    inDoubt = false;
    if (!outcome.advanced) return outcome;
    stored = next;
    inForce = next.cursor;
    storedAtMs = performance.now();
    if (next.batch % PRUNE_EVERY_BATCHES === 1) await pruneCursors(db, lane, next);
    return outcome;
  }

  /** Now and then on the way, and at once where all lanes have to be seen standing. */
  async function storeWalk(reached: ReadBatch['reached']): Promise<void> {
    const { cursor } = stored;
    if (cursor.position === inForce.position && cursor.frozen === inForce.frozen && reached !== 'barrier')
      return;
    if (reached === 'barrier' && isSame(cursor, inForce)) return;
    if (reached !== 'barrier' && performance.now() < storedAtMs + STORE_WALK_EVERY_MS) return;
    const { advanced } = await store({ ...stored, batch: stored.batch + 1 }, []);
    // Notices that the lease is lost, and says so.
    if (!advanced) await lease.renewNow();
  }

  return {
    lease,
    state,
    tookOver,
    get position(): number {
      return stored.cursor.position;
    },
    async current(limit = batchSize): Promise<ReadBatch> {
      if (inDoubt) await settleDoubt();
      const batch = await read(stored.cursor, limit);
      if (batch.events.length === 0) {
        // An empty look is worth nothing later, but for where to look from; the stored cursor misses nothing either.
        reading = undefined;
        stored = { ...stored, cursor: batch.next };
        await storeWalk(batch.reached);
      }
      return batch;
    },
    readAhead(batch): void {
      void read(batch.next, batchSize);
    },
    async advance(batch, parking): Promise<StoreOutcome> {
      const delivered = stored.delivered + batch.events.length - parking.length;
      const next = { cursor: batch.next, token: lease.token, batch: stored.batch + 1, delivered };
      return await store(next, parking);
    },
    countDelivered(events): void {
      stored = { ...stored, delivered: stored.delivered + events };
    },
    forget(): void {
      reading = undefined;
    },
    async close(reserveForMs): Promise<void> {
      const underWay = reading?.batch.catch(() => undefined);
      reading = undefined;
      // A read that is under way holds a connection: closed means that it is given back, too.
      await Promise.all([underWay, lease.release(reserveForMs)]);
    },
  };
}

function isSame(one: Cursor, other: Cursor): boolean {
  return (
    one.position === other.position &&
    one.snapshot === other.snapshot &&
    one.frozen === null &&
    other.frozen === null
  );
}

// Reads the next batch after a cursor: late events first, then new ones, all under one snapshot.
// Reading changes nothing; the caller stores `next` once the events are delivered.

import type { Queryable } from '@pulsebox/postgres';
import type { BatchLimit, LaneSlice, ReadBatch } from './batch.ts';
import type { Cursor } from './cursor.ts';
import { lookAtLane } from './look-at-lane.ts';
import { lookAtLog } from './look-at-log.ts';
import { readPage } from './read-page.ts';
import { endOf, lateOf, wholeLog, windowOf } from './window.ts';

/**
 * Reads events after the cursor, of one lane if a slice is given. A number: so many late and so many new ones at most.
 *
 * What a limit leaves out comes with the next batch: any beginning of a batch is one.
 *
 * @param db a pool, or a connection outside a transaction: the xid that a transaction has already would be no ceiling.
 * Nothing here needs a session, so a pooler in transaction mode will do.
 */
export async function readBatch(
  db: Queryable,
  cursor: Cursor,
  limit: number | BatchLimit,
  slice: LaneSlice = wholeLog,
): Promise<ReadBatch> {
  const most = typeof limit === 'number' ? { events: limit } : limit;
  if (cursor.frozen === null) return await readLateAndNew(db, cursor, most, slice);
  const page = await readPage(db, cursor, cursor.frozen, most, slice);
  // An empty last page: what comes after it is read at once, so that "no events" always means "caught up", or "walk on".
  return page.ended && page.events.length === 0 ? await readLateAndNew(db, page.next, most, slice) : page;
}

async function readLateAndNew(
  db: Queryable,
  cursor: Cursor,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch> {
  const { position, ceiling } = cursor;
  const { head, events, cut, ...rest } =
    slice.lanes === 1 ? await lookAtLog(db, cursor, most) : await lookAtLane(db, cursor, most, slice);
  if (head.ceiling === null) {
    // What is late after this snapshot was late after the old one too, so the old ceiling holds. Transactions that have
    // finished without an event are probed no more, and open ones above xmax move into the list, where they cost
    // nothing until they finish.
    const next = { position, snapshot: head.snapshot, ceiling, frozen: null };
    return { events: [], reached: 'end', next, ...rest };
  }

  const read = { snapshot: head.snapshot, ceiling: head.ceiling };
  const window = windowOf(most.events, slice);
  const late = lateOf(events, position);
  // Cut off among them, or behind the last of them: nobody knows whether it was the last.
  const cutLate = cut && late.length === events.length;
  const fullOfLate = late.length > most.events || cutLate;
  if (fullOfLate || head.lateSeen > window) {
    const page = late.slice(0, most.events);
    const frozen = { ...read, position: endOf(page, fullOfLate, head.lateSeenTo) };
    return { events: page, reached: 'more', next: { ...cursor, frozen }, ...rest };
  }
  const full = cut || events.length - late.length >= most.events;
  const next = { position: endOf(events, full, head.seenTo ?? position), ...read, frozen: null };
  // Not full, it was the end of the log: what comes after it is better read afresh.
  return { events, reached: full || head.seen >= window ? 'more' : 'end', next, ...rest };
}

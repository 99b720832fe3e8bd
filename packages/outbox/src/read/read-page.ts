// Reads the next of the late events that are paged through under a frozen snapshot.

import type { Queryable } from '@pulsebox/postgres';
import type { BatchLimit, LaneSlice, ReadBatch } from './batch.ts';
import type { Cursor, FrozenPage } from './cursor.ts';
import { lookAtPageOfLane } from './look-at-lane.ts';
import { lookAtPageOfLog } from './look-at-log.ts';
import { endOf, windowOf } from './window.ts';

/** `ended`: these were the last; `next` stands behind the whole page then. */
export async function readPage(
  db: Queryable,
  cursor: Cursor,
  frozen: FrozenPage,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch & { readonly ended: boolean }> {
  const { head, events, cut, ...rest } =
    slice.lanes === 1
      ? await lookAtPageOfLog(db, cursor, frozen, most)
      : await lookAtPageOfLane(db, cursor, frozen, most, slice);
  const full = cut || events.length >= most.events;
  const ended = !full && head.seen < windowOf(most.events, slice);
  const next: Cursor = ended
    ? { position: cursor.position, snapshot: frozen.snapshot, ceiling: frozen.ceiling, frozen: null }
    : { ...cursor, frozen: { ...frozen, position: endOf(events, full, head.seenTo) } };
  return { events, ended, reached: 'more', next, ...rest };
}

// Reads a lane up to the barrier at which the group's lanes change: what the barrier's snapshot sees and no more.
// Why nothing is lost, delivered twice or inverted on the way stands in ARCHITECTURE.md, "Changing lanes".

import type { Queryable } from '@pulsebox/postgres';
import { EVENT_ROW, HEAD_ROW, queryEvents } from '../log/event-rows.ts';
import type { BatchLimit, LaneSlice, ReadBatch } from './batch.ts';
import type { Cursor } from './cursor.ts';
import { readPage } from './read-page.ts';
import { endOf, windowOf } from './window.ts';
import type { PageHead } from './window.ts';

/** The cursor at which every old lane stops and every new one starts. */
export interface Barrier {
  readonly position: number;
  /** A `pg_snapshot`, as text. */
  readonly snapshot: string;
  /** An `xid8`, as text. */
  readonly ceiling: string;
  /** Up to here the log was restored from another cluster: nothing is late there, whatever its xids say. */
  readonly floor: number;
}

/**
 * Result: one row without a seq whose payload is `{seen, seenTo}`, then the lane's events behind the position
 * that the barrier's snapshot saw. `seen` below $4: the barrier's position is reached.
 * Parameters: $1 position, $2 and $3 the barrier's position and snapshot, $4 the window, $5 the most events, $6 lane,
 * $7 lanes. Index: event_pkey.
 *
 * The barrier bounds what was looked at, not the look: of a range with two ends the planner expects next to nothing while
 * a partition was never analysed, and reads and sorts all of it (200,000 rows in place of 2,000).
 */
export const READ_TO_BARRIER: string = `
  with between as materialized (
    select count(*) as seen, max(seq) as seen_to
    from (
      select seq from outbox.event
      where seq > $1::bigint and $1::bigint < $2::bigint
      order by seq
      limit $4::bigint
    ) e
    where seq <= $2::bigint
  ),
  head(payload) as (
    select jsonb_build_object(
      'seen', (select seen from between),
      'seenTo', (select seen_to from between))
  )
  ${HEAD_ROW}
  union all
  (
    ${EVENT_ROW}
    from (
      select xid, seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint and $1::bigint < $2::bigint
      order by seq
      limit $4::bigint
    ) e
    where e.seq <= $2::bigint
      and (e.seq <= (select era_floor from outbox.setting)
           or pg_visible_in_snapshot(e.xid, $3::pg_snapshot))
      and outbox.lane_of(e.key, e.seq, $7::integer) = $6::integer
    limit $5::bigint
  )`;

/** As readBatch, up to the barrier: `reached` says so once nothing is left. Each cursor on the way is an ordinary one. */
export async function readToBarrier(
  db: Queryable,
  cursor: Cursor,
  barrier: Barrier,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch> {
  const { snapshot, ceiling, floor } = barrier;
  // A page that is under way ends first. Then comes what the cursor's snapshot did not see and the barrier's did: a page
  // of late events under the barrier's snapshot.
  const frozen =
    cursor.frozen ?? (cursor.snapshot === snapshot ? null : { snapshot, ceiling, position: floor });
  if (frozen === null) return await readBehindPosition(db, cursor, barrier, most, slice);
  const page = await readPage(db, cursor, frozen, most, slice);
  return page.ended && page.events.length === 0
    ? await readToBarrier(db, page.next, barrier, most, slice)
    : page;
}

async function readBehindPosition(
  db: Queryable,
  cursor: Cursor,
  barrier: Barrier,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch> {
  const { snapshot, ceiling } = barrier;
  const { events: limit, characters } = most;
  const window = windowOf(limit, slice);
  const values = [cursor.position, barrier.position, snapshot, window, limit, slice.lane, slice.lanes];
  const { head, events, cut, ...rest } = await queryEvents<PageHead>(db, READ_TO_BARRIER, values, characters);
  const full = cut || events.length >= limit;
  const there = !full && head.seen < window;
  const position = there ? barrier.position : endOf(events, full, head.seenTo);
  const next: Cursor = { position, snapshot, ceiling, frozen: null };
  return { events, reached: there && events.length === 0 ? 'barrier' : 'more', next, ...rest };
}

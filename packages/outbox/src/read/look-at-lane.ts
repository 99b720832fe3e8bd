// Looks at the log behind a cursor for one lane of several, through a window.

import type { Queryable } from '@pulsebox/postgres';
import { EVENT_ROW, HEAD_ROW, queryEvents } from '../log/event-rows.ts';
import type { Answer } from '../log/event-rows.ts';
import type { BatchLimit, LaneSlice } from './batch.ts';
import type { Cursor, FrozenPage } from './cursor.ts';
import { CANDIDATES, LATE } from './late-events.ts';
import { nothingCanBeLate } from './read-new.ts';
import { windowOf } from './window.ts';
import type { PageHead, WindowHead } from './window.ts';

/**
 * Result: one row without a seq whose payload is `{snapshot, ceiling, lateSeen, lateSeenTo, seen, seenTo}`, then
 * the lane's late events, one more than $5 if there are, then its new ones. `lateSeen` above $4: there are more.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the window, $5 the most events of each kind, $6 lane, $7 lanes.
 *
 * Indexes as in READ_BATCH, and for its reasons. The key that tells the lane is not in them, so every event looked at
 * is fetched; the rest of the row only for those of the lane.
 */
export const READ_LANE: string = `
  with ${LATE},
  mine as materialized (
    select seen.seq
    from (select seq, key from late order by seq limit $4::bigint) seen
    where outbox.lane_of(seen.key, seen.seq, $7::integer) = $6::integer
    order by seen.seq
    limit $5::bigint + 1
  ),
  fresh as materialized (
    select count(*) as seen, max(seq) as seen_to
    from (
      select seq from outbox.event
      where seq > $1::bigint
        and (select count(*) from late) <= $4::bigint and (select count(*) from mine) <= $5::bigint
      order by seq
      limit $4::bigint
    ) e
  ),
  head(payload) as (
    select jsonb_build_object(
      'snapshot', pg_current_snapshot()::text,
      'ceiling', case when exists (select from late) or (select seen from fresh) > 0
                      then pg_current_xact_id()::text end,
      'lateSeen', (select count(*) from late),
      'lateSeenTo', (select max(seq) from (select seq from late order by seq limit $4::bigint) seen),
      'seen', (select seen from fresh),
      'seenTo', (select seen_to from fresh))
  )
  ${HEAD_ROW}
  union all
  ${EVENT_ROW}
  from mine cross join lateral (select * from outbox.event where seq = mine.seq limit 1) e
  union all
  (
    ${EVENT_ROW}
    from (
      select seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint
        and (select count(*) from late) <= $4::bigint and (select count(*) from mine) <= $5::bigint
      order by seq
      limit $4::bigint
    ) e
    where outbox.lane_of(e.key, e.seq, $7::integer) = $6::integer
    limit $5::bigint
  )`;

/**
 * Result: as READ_LANE, for a cursor that cannot have late events. Index: event_pkey.
 * Parameters: $1 position, $2 the window, $3 the most events, $4 lane, $5 lanes.
 */
export const READ_LANE_NEW: string = `
  with fresh as materialized (
    select count(*) as seen, max(seq) as seen_to
    from (select seq from outbox.event where seq > $1::bigint order by seq limit $2::bigint) e
  ),
  head(payload) as (
    select jsonb_build_object(
      'snapshot', pg_current_snapshot()::text,
      'ceiling', case when (select seen from fresh) > 0 then pg_current_xact_id()::text end,
      'lateSeen', 0,
      'lateSeenTo', null,
      'seen', (select seen from fresh),
      'seenTo', (select seen_to from fresh))
  )
  ${HEAD_ROW}
  union all
  (
    ${EVENT_ROW}
    from (
      select seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint
      order by seq
      limit $2::bigint
    ) e
    where outbox.lane_of(e.key, e.seq, $5::integer) = $4::integer
    limit $3::bigint
  )`;

/**
 * Result: one row without a seq whose payload is `{seen, seenTo}`, then the lane's events among the next late
 * ones of a frozen page. `seen` below $4: the page ends there.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the window, $5 frozen snapshot, $6 frozen position, $7 the most
 * events, $8 lane, $9 lanes. Indexes as in READ_FROZEN_PAGE, and for its reasons.
 */
export const READ_LANE_FROZEN_PAGE: string = `
  with recursive ${CANDIDATES},
  page as materialized (
    select probe.seq, probe.key
    from candidate
    cross join lateral (
      select e.seq, e.key from outbox.event e
      where (e.xid, e.seq) > (candidate.xid, $6::bigint) and (e.xid, e.seq) <= (candidate.xid, $1::bigint)
      order by e.xid, e.seq
      limit $4::bigint
    ) probe
    where pg_visible_in_snapshot(candidate.xid, $5::pg_snapshot)
    order by probe.seq
    limit $4::bigint
  ),
  mine as materialized (
    select seq from page
    where outbox.lane_of(key, seq, $9::integer) = $8::integer
    order by seq
    limit $7::bigint
  ),
  head(payload) as (
    select jsonb_build_object(
      'seen', (select count(*) from page),
      'seenTo', (select max(seq) from page))
  )
  ${HEAD_ROW}
  union all
  ${EVENT_ROW}
  from mine cross join lateral (select * from outbox.event where seq = mine.seq limit 1) e`;

export async function lookAtLane(
  db: Queryable,
  cursor: Cursor,
  { events: limit, characters }: BatchLimit,
  slice: LaneSlice,
): Promise<Answer<WindowHead>> {
  const { position, snapshot, ceiling } = cursor;
  const values = [windowOf(limit, slice), limit, slice.lane, slice.lanes];
  return nothingCanBeLate(cursor)
    ? await queryEvents<WindowHead>(db, READ_LANE_NEW, [position, ...values], characters)
    : await queryEvents<WindowHead>(db, READ_LANE, [position, snapshot, ceiling, ...values], characters);
}

export async function lookAtPageOfLane(
  db: Queryable,
  { position, snapshot, ceiling }: Cursor,
  frozen: FrozenPage,
  { events: limit, characters }: BatchLimit,
  slice: LaneSlice,
): Promise<Answer<PageHead>> {
  const page = [position, snapshot, ceiling, windowOf(limit, slice), frozen.snapshot, frozen.position];
  const values = [...page, limit, slice.lane, slice.lanes];
  return await queryEvents<PageHead>(db, READ_LANE_FROZEN_PAGE, values, characters);
}

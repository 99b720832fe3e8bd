// Reads the next batch of one lane of several: as read-batch.ts does, through a bounded window of the log.
//
// A lane's events are found by looking at those of all lanes. So that a lane whose keys are rare never looks through the
// whole log at once, a read goes through at most `limit × lanes` late and as many new events, returns the lane's own of
// them, and moves the cursor to the end of what it has seen. A stretch without an event of the lane costs a read, and
// the reader walks on.

import type { Queryable } from '@pulsebox/postgres';
import type { Cursor, FrozenPage } from './cursor.ts';
import type { OutboxEvent } from '../log/event.ts';
import { queryEvents } from '../log/event-rows.ts';
import type { Head } from '../log/event-rows.ts';
import type { BatchLimit, ReadBatch } from './read-batch.ts';
import { nothingCanBeLate } from './read-new.ts';

/** Which of how many. */
export interface LaneSlice {
  readonly lane: number;
  readonly lanes: number;
}

/**
 * Result: one row without a seq whose payload is `{snapshot, ceiling, readAt, lateSeen, lateSeenTo, seen, seenTo}`, then
 * the lane's late events, one more than $5 if there are, then its new ones. `lateSeen` above $4: there are more.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the window, $5 the most events of each kind, $6 lane, $7 lanes.
 *
 * Indexes as in READ_BATCH, and for its reasons. The key that tells the lane is not in them, so every event looked at
 * is fetched; the rest of the row only for those of the lane.
 */
export const READ_LANE = `
  with late as materialized (
    select found.seq, found.key
    from (
      select probe.seq, probe.key
      from pg_snapshot_xip($2::pg_snapshot) as open(xid)
      cross join lateral (
        select e.seq, e.key from outbox.event e
        where (e.xid, e.seq) > (open.xid, (select era_floor from outbox.setting))
          and (e.xid, e.seq) <= (open.xid, $1::bigint)
        order by e.xid, e.seq
        limit $4::bigint + 1
      ) probe
      where pg_visible_in_snapshot(open.xid, pg_current_snapshot())
      union all
      select e.seq, e.key from outbox.event e
      where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
        and (e.xid, e.seq) < ($3::xid8, 0::bigint)
        and e.seq <= $1::bigint
        and e.seq + 0 > (select era_floor from outbox.setting)
    ) found
    order by found.seq
    limit $4::bigint + 1
  ),
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
  )
  select null::bigint as seq, null as topic, null as key,
         jsonb_build_object(
           'snapshot', pg_current_snapshot()::text,
           'ceiling', case when exists (select from late) or (select seen from fresh) > 0
                           then pg_current_xact_id()::text end,
           'lateSeen', (select count(*) from late),
           'lateSeenTo', (select max(seq) from (select seq from late order by seq limit $4::bigint) seen),
           'seen', (select seen from fresh),
           'seenTo', (select seen_to from fresh),
           'readAt', date_part('epoch', clock_timestamp())) as payload,
         null::jsonb as headers, null::float8 as created_at
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from mine cross join lateral (select * from outbox.event where seq = mine.seq limit 1) e
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from (
    select window_of.seq, window_of.topic, window_of.key, window_of.payload, window_of.headers, window_of.created_at
    from (
      select seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint
        and (select count(*) from late) <= $4::bigint and (select count(*) from mine) <= $5::bigint
      order by seq
      limit $4::bigint
    ) window_of
    where outbox.lane_of(window_of.key, window_of.seq, $7::integer) = $6::integer
    limit $5::bigint
  ) e`;

/**
 * Result: as READ_LANE, for a cursor that cannot have late events. Index: event_pkey.
 * Parameters: $1 position, $2 the window, $3 the most events, $4 lane, $5 lanes.
 */
export const READ_LANE_NEW = `
  with fresh as materialized (
    select count(*) as seen, max(seq) as seen_to
    from (select seq from outbox.event where seq > $1::bigint order by seq limit $2::bigint) e
  )
  select null::bigint as seq, null as topic, null as key,
         jsonb_build_object(
           'snapshot', pg_current_snapshot()::text,
           'ceiling', case when (select seen from fresh) > 0 then pg_current_xact_id()::text end,
           'lateSeen', 0,
           'lateSeenTo', null,
           'seen', (select seen from fresh),
           'seenTo', (select seen_to from fresh),
           'readAt', date_part('epoch', clock_timestamp())) as payload,
         null::jsonb as headers, null::float8 as created_at
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from (
    select window_of.seq, window_of.topic, window_of.key, window_of.payload, window_of.headers, window_of.created_at
    from (
      select seq, topic, key, payload, headers, created_at from outbox.event
      where seq > $1::bigint
      order by seq
      limit $2::bigint
    ) window_of
    where outbox.lane_of(window_of.key, window_of.seq, $5::integer) = $4::integer
    limit $3::bigint
  ) e`;

/**
 * Result: one row without a seq whose payload is `{readAt, seen, seenTo}`, then the lane's events among the next late
 * ones of a frozen page. `seen` below $4: the page ends there.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the window, $5 frozen snapshot, $6 frozen position, $7 the most
 * events, $8 lane, $9 lanes. Indexes as in READ_FROZEN_PAGE, and for its reasons.
 */
export const READ_LANE_FROZEN_PAGE = `
  with recursive finished(xid) as (
    (select e.xid from outbox.event e
     where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
       and (e.xid, e.seq) < ($3::xid8, 0::bigint)
     order by e.xid, e.seq limit 1)
    union all
    select following.xid
    from finished
    cross join lateral (
      select e.xid from outbox.event e
      where (e.xid, e.seq) > (finished.xid, 9223372036854775807) and (e.xid, e.seq) < ($3::xid8, 0::bigint)
      order by e.xid, e.seq limit 1
    ) following
  ),
  candidate(xid) as (
    select xid from pg_snapshot_xip($2::pg_snapshot) as open(xid)
    union all
    select xid from finished
  ),
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
  )
  select null::bigint as seq, null as topic, null as key,
         jsonb_build_object(
           'seen', (select count(*) from page),
           'seenTo', (select max(seq) from page),
           'readAt', date_part('epoch', clock_timestamp())) as payload,
         null::jsonb as headers, null::float8 as created_at
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from mine cross join lateral (select * from outbox.event where seq = mine.seq limit 1) e`;

interface LaneHead extends Head, Seen {
  readonly lateSeen: number;
  /** The last of the late events in the window; null: there is none. */
  readonly lateSeenTo: number | null;
}

/** Events of all lanes that a read has looked at. */
export interface Seen {
  readonly seen: number;
  /** The last of them; null: there is none. */
  readonly seenTo: number | null;
}

/** Events of all lanes that a read looks at. */
export function windowOf(limit: number, { lanes }: LaneSlice): number {
  return limit * lanes;
}

/** As readBatch, for one lane of several. */
export async function readLane(
  db: Queryable,
  cursor: Cursor,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch> {
  if (cursor.frozen === null) return await readLateAndNew(db, cursor, most, slice);
  const page = await readLanePage(db, cursor, cursor.frozen, most, slice);
  // An empty last page: what comes after it is read at once.
  return page.ended && page.events.length === 0 ? await readLateAndNew(db, page.next, most, slice) : page;
}

async function readLateAndNew(
  db: Queryable,
  cursor: Cursor,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch> {
  const { position, snapshot, ceiling } = cursor;
  const { lane, lanes } = slice;
  const { events: limit, characters } = most;
  const window = windowOf(limit, slice);
  const values = [window, limit, lane, lanes];
  const { head, events, cut, ...times } = nothingCanBeLate(cursor)
    ? await queryEvents<LaneHead>(db, READ_LANE_NEW, [position, ...values], characters)
    : await queryEvents<LaneHead>(db, READ_LANE, [position, snapshot, ceiling, ...values], characters);
  // Nothing of any lane: as in read-batch.ts, the old ceiling holds.
  if (head.ceiling === null) {
    const next = { position, snapshot: head.snapshot, ceiling, frozen: null };
    return { events: [], reached: 'end', next, ...times };
  }

  const read = { snapshot: head.snapshot, ceiling: head.ceiling };
  const late = events.filter((event) => event.position <= position);
  const cutLate = cut && late.length === events.length;
  if (late.length > limit || head.lateSeen > window || cutLate) {
    const page = late.slice(0, limit);
    const next = {
      ...cursor,
      frozen: { ...read, position: endOf(page, late.length > limit || cutLate, head.lateSeenTo) },
    };
    return { events: page, reached: 'more', next, ...times };
  }
  const full = cut || events.length - late.length >= limit;
  const next = { position: endOf(events, full, head.seenTo ?? position), ...read, frozen: null };
  return { events, reached: full || head.seen >= window ? 'more' : 'end', next, ...times };
}

/** `ended`: it was the last one; `next` stands behind the whole page then. */
export async function readLanePage(
  db: Queryable,
  cursor: Cursor,
  frozen: FrozenPage,
  most: BatchLimit,
  slice: LaneSlice,
): Promise<ReadBatch & { readonly ended: boolean }> {
  const { position, snapshot, ceiling } = cursor;
  const { events: limit, characters } = most;
  const window = windowOf(limit, slice);
  const values = [position, snapshot, ceiling, window, frozen.snapshot, frozen.position];
  const { head, events, cut, ...times } = await queryEvents<Pick<Head, 'readAt'> & Seen>(
    db,
    READ_LANE_FROZEN_PAGE,
    [...values, limit, slice.lane, slice.lanes],
    characters,
  );
  const full = cut || events.length >= limit;
  const ended = !full && head.seen < window;
  const next: Cursor = ended
    ? { position, snapshot: frozen.snapshot, ceiling: frozen.ceiling, frozen: null }
    : { ...cursor, frozen: { ...frozen, position: endOf(events, full, head.seenTo) } };
  return { events, ended, reached: 'more', next, ...times };
}

/** The last that counts as read: of a full batch its own last event, since those behind it were left out. */
export function endOf(events: readonly OutboxEvent[], full: boolean, seenTo: number | null): number {
  const last = full ? events.at(-1)?.position : seenTo;
  if (last === undefined || last === null) throw new Error('the log did not say how far it was read');
  return last;
}

// Reads the next batch after a cursor: late events first, then new ones, all under one snapshot.
// Reading changes nothing; the caller stores `next` once the events are delivered.

import type { Queryable } from '@pulsebox/postgres';
import type { Cursor } from './cursor.ts';
import type { OutboxEvent } from '../log/event.ts';
import { queryEvents } from '../log/event-rows.ts';
import { readLane } from './read-lane.ts';
import type { LaneSlice } from './read-lane.ts';
import { nothingCanBeLate, READ_NEW } from './read-new.ts';

export interface ReadBatch {
  /** Late events, then new ones, each in the order of their positions. */
  readonly events: readonly OutboxEvent[];
  /**
   * How far this look went. `end`: to the end of the log as it was then. `more`: there may be more to read at once; with
   * one lane, only behind events, while a lane of several also walks over stretches without events of its own.
   * `barrier`: to where all lanes of the group stop, since their number changes.
   */
  readonly reached: 'more' | 'end' | 'barrier';
  /** The cursor to store once these events are delivered. Without events it need not be stored, but is cheaper to read from. */
  readonly next: Cursor;
  /** Of the events' JSON, in characters. */
  readonly size: number;
  /** The database's clock when the batch was read, in milliseconds since 1970. */
  readonly readAtMs: number;
  /** `performance.now()` when it arrived, to go on counting from `readAtMs` here. */
  readonly receivedAtMs: number;
}

/**
 * Result: one row without a seq whose payload is `{snapshot, ceiling, readAt}`, then the late events, then the new
 * ones. Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the most events of each kind.
 *
 * Late events are found by probes of event_xid_seq, one for each transaction that was open at the snapshot and has
 * finished since, and one for the range up to the ceiling. Conditions compare rows, (xid, seq), since that leaves the
 * planner no other index: given `xid = .. and seq <= ..` with `order by seq` it may walk the log from its start.
 * Their rows are fetched one by one (`limit 1`): joined freely, the planner may hash them and scan the log, which
 * loses the order that paging rests on.
 * New events come from event_pkey. One more late event than asked for is the sign that paging must begin.
 *
 * Up to the floor the log was restored from another cluster: nothing there is late, and its xids are used here again.
 * `seq + 0`: with a lower bound for seq the planner took event_pkey for the range, half the log in place of one probe.
 *
 * The ceiling is an xid assigned after the snapshot was taken. An event with seq <= position took its xid before its
 * seq, and its seq before one that the snapshot sees, so it is below the ceiling. Only a batch with events takes an
 * xid: an idle reader burns none.
 *
 * `exists (.. seq > $1)` would be a sequential scan: what the planner knows of a first row says it is cheap, and it is
 * not where the delivered events stand first. Hence the ordered look at event_pkey.
 */
export const READ_BATCH = `
  with late as materialized (
    select found.seq
    from (
      select probe.seq
      from pg_snapshot_xip($2::pg_snapshot) as open(xid)
      cross join lateral (
        select e.seq from outbox.event e
        where (e.xid, e.seq) > (open.xid, (select era_floor from outbox.setting))
          and (e.xid, e.seq) <= (open.xid, $1::bigint)
        order by e.xid, e.seq
        limit $4::bigint + 1
      ) probe
      where pg_visible_in_snapshot(open.xid, pg_current_snapshot())
      union all
      select e.seq from outbox.event e
      where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
        and (e.xid, e.seq) < ($3::xid8, 0::bigint)
        and e.seq <= $1::bigint
        and e.seq + 0 > (select era_floor from outbox.setting)
    ) found
    order by found.seq
    limit $4::bigint + 1
  )
  select null::bigint as seq, null as topic, null as key,
         jsonb_build_object(
           'snapshot', pg_current_snapshot()::text,
           'ceiling', case when exists (select from late)
                             or (select seq from outbox.event where seq > $1::bigint order by seq limit 1) is not null
                           then pg_current_xact_id()::text end,
           'readAt', date_part('epoch', clock_timestamp())) as payload,
         null::jsonb as headers, null::float8 as created_at
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from late cross join lateral (select * from outbox.event where seq = late.seq limit 1) e
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from (
    select seq, topic, key, payload, headers, created_at from outbox.event
    where seq > $1::bigint and (select count(*) from late) <= $4::bigint
    order by seq
    limit $4::bigint
  ) e`;

/**
 * Result: one row without a seq for the clock, then the next late events of a frozen page; fewer than $4: it is done.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the most events, $5 frozen snapshot, $6 frozen position.
 *
 * No floor here: a page begins behind late events that READ_BATCH found above it, or, after a restore, below it.
 *
 * The transactions between xmax and the ceiling are enumerated by a loose index scan, so that a page costs one probe
 * per transaction and not one row per event: a transaction of a million events stays linear.
 */
export const READ_FROZEN_PAGE = `
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
  )
  select null::bigint as seq, null as topic, null as key,
         jsonb_build_object('readAt', date_part('epoch', clock_timestamp())) as payload,
         null::jsonb as headers, null::float8 as created_at
  union all
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)
  from (
    select probe.*
    from candidate
    cross join lateral (
      select e.seq, e.topic, e.key, e.payload, e.headers, e.created_at from outbox.event e
      where (e.xid, e.seq) > (candidate.xid, $6::bigint) and (e.xid, e.seq) <= (candidate.xid, $1::bigint)
      order by e.xid, e.seq
      limit $4::bigint
    ) probe
    where pg_visible_in_snapshot(candidate.xid, $5::pg_snapshot)
    order by probe.seq
    limit $4::bigint
  ) e`;

export interface BatchLimit {
  /** The most late and the most new events. */
  readonly events: number;
  /** Characters of JSON after which no event is added. There is at least one, however large. Default 16 Mi. */
  readonly characters?: number;
}

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
  slice?: LaneSlice,
): Promise<ReadBatch> {
  const most = typeof limit === 'number' ? { events: limit } : limit;
  if (slice !== undefined && slice.lanes > 1) return await readLane(db, cursor, most, slice);
  return cursor.frozen === null
    ? await readLateAndNew(db, cursor, most)
    : await readFrozenPage(db, cursor, cursor.frozen, most);
}

async function readLateAndNew(db: Queryable, cursor: Cursor, most: BatchLimit): Promise<ReadBatch> {
  const { position, snapshot, ceiling } = cursor;
  const { events: limit, characters } = most;
  const { head, events, cut, ...times } = nothingCanBeLate(cursor)
    ? await queryEvents(db, READ_NEW, [position, limit], characters)
    : await queryEvents(db, READ_BATCH, [position, snapshot, ceiling, limit], characters);
  if (head.ceiling === null || events.length === 0) {
    // What is late after this snapshot was late after the old one too, so the old ceiling holds. Transactions that have
    // finished without an event are probed no more, and open ones above xmax move into the list, where they cost
    // nothing until they finish.
    return {
      events: [],
      reached: 'end',
      next: { position, snapshot: head.snapshot, ceiling, frozen: null },
      ...times,
    };
  }

  const read = { snapshot: head.snapshot, ceiling: head.ceiling };
  const firstNew = events.findIndex((event) => event.position > position);
  const late = firstNew === -1 ? events : events.slice(0, firstNew);
  // Cut off among them, or behind the last of them: nobody knows whether it was the last.
  if (late.length > limit || (cut && firstNew === -1)) {
    const page = late.slice(0, limit);
    const next = { ...cursor, frozen: { ...read, position: lastPosition(page) } };
    return { events: page, reached: 'more', next, ...times };
  }
  const next = { position: firstNew === -1 ? position : lastPosition(events), ...read, frozen: null };
  // Not full, it was the end of the log: what comes after it is better read afresh.
  return { events, reached: cut || events.length >= limit ? 'more' : 'end', next, ...times };
}

async function readFrozenPage(
  db: Queryable,
  cursor: Cursor,
  frozen: NonNullable<Cursor['frozen']>,
  most: BatchLimit,
): Promise<ReadBatch> {
  const { position, snapshot, ceiling } = cursor;
  const { events: limit, characters } = most;
  const values = [position, snapshot, ceiling, limit, frozen.snapshot, frozen.position];
  const answer = await queryEvents(db, READ_FROZEN_PAGE, values, characters);
  const { events, cut, size, readAtMs, receivedAtMs } = answer;
  const done: Cursor = { position, snapshot: frozen.snapshot, ceiling: frozen.ceiling, frozen: null };
  // An empty last page: what comes after it is read at once, so that "no events" always means "caught up".
  if (events.length === 0) return await readLateAndNew(db, done, most);
  const full = cut || events.length >= limit;
  const next = full ? { ...cursor, frozen: { ...frozen, position: lastPosition(events) } } : done;
  return { events, reached: full ? 'more' : 'end', next, size, readAtMs, receivedAtMs };
}

function lastPosition(events: readonly OutboxEvent[]): number {
  return events.at(-1)?.position ?? 0;
}

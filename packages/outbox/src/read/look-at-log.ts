// Looks at the log behind a cursor, for a reader of all of it: a group with one lane, or one without a group.

import type { Queryable } from '@pulsebox/postgres';
import { EVENT_ROW, HEAD_ROW, queryEvents } from '../log/event-rows.ts';
import type { Answer } from '../log/event-rows.ts';
import type { BatchLimit } from './batch.ts';
import type { Cursor, FrozenPage } from './cursor.ts';
import { CANDIDATES, LATE } from './late-events.ts';
import { nothingCanBeLate, READ_NEW } from './read-new.ts';
import { lastPosition, lateOf } from './window.ts';
import type { LookHead, PageHead, WindowHead } from './window.ts';

/**
 * Result: one row without a seq whose payload is `{snapshot, ceiling}`, then the late events, then the new
 * ones. Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the most events of each kind.
 *
 * New events come from event_pkey. Rows of late ones are fetched one by one (`limit 1`): joined freely, the planner may
 * hash them and scan the log, which loses the order that paging rests on.
 *
 * The ceiling is an xid assigned after the snapshot was taken. An event with seq <= position took its xid before its
 * seq, and its seq before one that the snapshot sees, so it is below the ceiling. Only a batch with events takes an
 * xid: an idle reader burns none.
 *
 * `exists (.. seq > $1)` would be a sequential scan: what the planner knows of a first row says it is cheap, and it is
 * not where the delivered events stand first. Hence the ordered look at event_pkey.
 */
export const READ_BATCH: string = `
  with ${LATE},
  head(payload) as (
    select jsonb_build_object(
      'snapshot', pg_current_snapshot()::text,
      'ceiling', case when exists (select from late)
                        or (select seq from outbox.event where seq > $1::bigint order by seq limit 1) is not null
                      then pg_current_xact_id()::text end)
  )
  ${HEAD_ROW}
  union all
  ${EVENT_ROW}
  from late cross join lateral (select * from outbox.event where seq = late.seq limit 1) e
  union all
  ${EVENT_ROW}
  from (
    select seq, topic, key, payload, headers, created_at from outbox.event
    where seq > $1::bigint and (select count(*) from late) <= $4::bigint
    order by seq
    limit $4::bigint
  ) e`;

/**
 * Result: one row without a seq or a payload, then the next late events of a frozen page; fewer than $4: it is done.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 the most events, $5 frozen snapshot, $6 frozen position.
 */
export const READ_FROZEN_PAGE: string = `
  with recursive ${CANDIDATES},
  head(payload) as (select null::jsonb)
  ${HEAD_ROW}
  union all
  ${EVENT_ROW}
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

/** All that is seen is the reader's own, so the events themselves say how far it looked. */
export async function lookAtLog(
  db: Queryable,
  cursor: Cursor,
  { events: limit, characters }: BatchLimit,
): Promise<Answer<WindowHead>> {
  const { position, snapshot, ceiling } = cursor;
  const answer = nothingCanBeLate(cursor)
    ? await queryEvents<LookHead>(db, READ_NEW, [position, limit], characters)
    : await queryEvents<LookHead>(db, READ_BATCH, [position, snapshot, ceiling, limit], characters);
  const late = lateOf(answer.events, position);
  const head = {
    ...answer.head,
    lateSeen: late.length,
    lateSeenTo: lastPosition(late),
    seen: answer.events.length - late.length,
    seenTo: answer.events.length === late.length ? null : lastPosition(answer.events),
  };
  return { ...answer, head };
}

export async function lookAtPageOfLog(
  db: Queryable,
  { position, snapshot, ceiling }: Cursor,
  frozen: FrozenPage,
  { events: limit, characters }: BatchLimit,
): Promise<Answer<PageHead>> {
  const values = [position, snapshot, ceiling, limit, frozen.snapshot, frozen.position];
  const answer = await queryEvents<null>(db, READ_FROZEN_PAGE, values, characters);
  const { events } = answer;
  return { ...answer, head: { seen: events.length, seenTo: lastPosition(events) } };
}

// Where every group stands: for the operator's command and for the gauges.

import type { Queryable } from '@pulsebox/postgres';
import type { QueryResult } from 'pg';
import { DEAD_COUNTS } from '../dead/dead-counts.ts';
import type { DeadCounts } from '../dead/dead-counts.ts';

export interface GroupStatus extends DeadCounts {
  /** How many lanes the group has. */
  readonly lanes: number;
  /** How many it shall have, while `groups resize` is under way; else null. */
  readonly wishedLanes: number | null;
  readonly position: number;
  /**
   * Committed events of the lane that are not delivered yet. Exact up to `LAG_COUNTED_EXACTLY` events of all lanes, then
   * the lane's part of the distance to the end of the log, which gaps in the sequence make larger.
   */
  readonly lag: number;
  /** Age of the oldest undelivered event in seconds, 0 when there is none. */
  readonly oldestAgeSeconds: number;
  /** Events delivered since the group was made. */
  readonly delivered: number;
  readonly fencingToken: number;
  /** Who reads the lane, or null. */
  readonly holder: string | null;
  /** When the lease ends if it is not renewed, in seconds; null without a holder. */
  readonly leaseSeconds: number | null;
  /** When progress was stored last, ISO 8601. */
  readonly storedAt: string;
  /** Why the lane rests, as its holder has told: its sink is away. Null: it does not, or nobody holds it. */
  readonly paused: LanePause | null;
}

export interface LanePause {
  /** ISO 8601, as `nextTryAt`. */
  readonly since: string;
  readonly nextTryAt: string;
  /** Of the error that the handler threw: its code, and the first line of its message. */
  readonly code: string;
  readonly reason: string;
}

/** Beyond this, counting would cost more than the figure is worth. */
export const LAG_COUNTED_EXACTLY = 10_000;

/**
 * Result: one row per lane. Late events and new ones are counted up to LAG_COUNTED_EXACTLY each.
 * Indexes: cursor_pkey backwards for each lane, event_xid_seq for late events as in READ_BATCH, event_pkey from the
 * cursor on; at most that many entries of each.
 * `seq + 0` keeps the planner off event_pkey, which it took for the range of a group that has caught up: the whole log,
 * 57 ms for 300,000 events, for what event_xid_seq answers with one probe.
 * The lane's own are counted among those of all lanes: where they are rare, the count goes no further for that.
 * Late events count once their transaction has committed; before that nobody can see them. Left out, a group that
 * fails on a late event while nothing new comes would look as if it were caught up.
 */
export const GROUP_STATUS: string = `
  select g.name as "group", c.lane, g.lanes, g.resize_lanes as "wishedLanes", c.position::float8 as position, c.delivered::float8 as delivered,
         (late.n + case when new.seen < ${LAG_COUNTED_EXACTLY} then new.n
                        else ((select coalesce(max(seq), 0) from outbox.event) - c.position) / g.lanes end)::float8 as lag,
         coalesce(greatest(0, extract(epoch from clock_timestamp() - least(late.oldest_at, first_new.created_at))),
                  0)::float8 as "oldestAgeSeconds",
         coalesce(l.token, c.token)::float8 as "fencingToken",
         case when l.expires_at > clock_timestamp() then l.holder end as holder,
         case when l.expires_at > clock_timestamp()
              then extract(epoch from l.expires_at - clock_timestamp())::float8 end as "leaseSeconds",
         to_char(c.stored_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "storedAt",
         case when l.expires_at > clock_timestamp() and p.token = l.token then json_build_object(
           'since', to_char(p.since at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'nextTryAt', to_char(p.next_try_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'code', p.code, 'reason', p.reason) end as paused
  from outbox.consumer_group g
  cross join (select era_floor as floor from outbox.setting) era
  cross join lateral generate_series(0, g.lanes - 1) as lane(n)
  cross join lateral (
    select * from outbox.cursor
    where group_name = g.name and lane = lane.n
    order by token desc, batch desc limit 1
  ) c
  cross join lateral (
    select count(*) as n, min(found.created_at) as oldest_at
    from (
      select probe.created_at, probe.key, probe.seq
      from pg_snapshot_xip(c.snapshot) as open(xid)
      cross join lateral (
        select e.created_at, e.key, e.seq from outbox.event e
        where (e.xid, e.seq) > (open.xid, coalesce(c.frozen_position, era.floor)) and (e.xid, e.seq) <= (open.xid, c.position)
        order by e.xid, e.seq limit ${LAG_COUNTED_EXACTLY}
      ) probe
      where pg_visible_in_snapshot(open.xid, pg_current_snapshot())
      union all
      select ranged.created_at, ranged.key, ranged.seq
      from (
        select e.created_at, e.key, e.seq from outbox.event e
        where (e.xid, e.seq) >= (pg_snapshot_xmax(c.snapshot), 0::bigint)
          and (e.xid, e.seq) < (c.ceiling, 0::bigint)
          and e.seq + 0 > coalesce(c.frozen_position, era.floor) and e.seq + 0 <= c.position
        order by e.xid, e.seq limit ${LAG_COUNTED_EXACTLY}
      ) ranged
      limit ${LAG_COUNTED_EXACTLY}
    ) found
    where outbox.lane_of(found.key, found.seq, g.lanes) = lane.n
  ) late
  cross join lateral (
    select count(*) as seen, count(*) filter (where outbox.lane_of(e.key, e.seq, g.lanes) = lane.n) as n
    from (select key, seq from outbox.event where seq > c.position order by seq limit ${LAG_COUNTED_EXACTLY}) e
  ) new
  left join lateral (
    select e.created_at
    from (
      select key, seq, created_at from outbox.event where seq > c.position order by seq limit ${LAG_COUNTED_EXACTLY}
    ) e
    where outbox.lane_of(e.key, e.seq, g.lanes) = lane.n
    limit 1
  ) first_new on true
  left join pulsebox.lease l on l.name = 'outbox/' || g.name || '/' || c.lane
  left join outbox.pause p on p.group_name = g.name and p.lane = c.lane
  order by g.name, c.lane`;

/**
 * The planner takes the number of lanes for a million and the cost for billions, so that a server with JIT (Debian's,
 * for one) compiles the query at each call: 450 to 1,500 ms for 1.4 ms of work, 11 s on a log of 100 partitions.
 * Statements of one message are one transaction, behind a pooler too: the setting ends with it.
 */
const WITHOUT_JIT = `set local jit = off; ${GROUP_STATUS}; ${DEAD_COUNTS}`;

export async function groupStatus(db: Queryable): Promise<GroupStatus[]> {
  const results: unknown = await db.query(WITHOUT_JIT);
  // One result for each statement; the types of node-postgres know of one.
  const [, lanes, counts] = results as readonly [
    unknown,
    QueryResult<Omit<GroupStatus, Exclude<keyof DeadCounts, 'group' | 'lane'>>>,
    QueryResult<DeadCounts>,
  ];
  const countsOf = new Map(counts.rows.map((row) => [`${row.group}/${row.lane}`, row]));
  return lanes.rows.map((lane) =>
    Object.assign(lane, countsOf.get(`${lane.group}/${lane.lane}`) ?? NOTHING_PARKED),
  );
}

const NOTHING_PARKED = { parked: 0, dead: 0, oldestDeadAgeSeconds: 0 };

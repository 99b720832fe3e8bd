// Where every group stands: for the operator's command and for the gauges.

import type { Queryable } from '@pulsebox/postgres';

export interface GroupStatus {
  readonly group: string;
  readonly lane: number;
  readonly position: number;
  /** Events not delivered yet. Exact up to `LAG_COUNTED_EXACTLY`, then the distance to the end of the log. */
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
}

/** Beyond this, counting would cost more than the figure is worth. */
export const LAG_COUNTED_EXACTLY = 10_000;

/**
 * Result: one row per lane. $1 how far to count.
 * Indexes: cursor_pkey backwards for each lane, event_pkey from the cursor on, at most $1 entries.
 * Late events that are still to come are not counted: nobody can see them yet.
 */
export const GROUP_STATUS = `
  select g.name as "group", c.lane, c.position::float8 as position, c.delivered::float8 as delivered,
         case when counted.n < $1 then counted.n
              else (select coalesce(max(seq), 0) from outbox.event) - c.position end::float8 as lag,
         coalesce(greatest(0, extract(epoch from clock_timestamp() - oldest.created_at)), 0)::float8 as "oldestAgeSeconds",
         coalesce(l.token, c.token)::float8 as "fencingToken",
         case when l.expires_at > clock_timestamp() then l.holder end as holder,
         case when l.expires_at > clock_timestamp()
              then extract(epoch from l.expires_at - clock_timestamp())::float8 end as "leaseSeconds",
         to_char(c.stored_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "storedAt"
  from outbox.consumer_group g
  cross join lateral generate_series(0, g.lanes - 1) as lane(n)
  cross join lateral (
    select * from outbox.cursor
    where group_name = g.name and lane = lane.n
    order by token desc, batch desc limit 1
  ) c
  cross join lateral (
    select count(*) as n from (select from outbox.event where seq > c.position order by seq limit $1) e
  ) counted
  left join lateral (
    select created_at from outbox.event where seq > c.position order by seq limit 1
  ) oldest on true
  left join pulsebox.lease l on l.name = 'outbox/' || g.name || '/' || c.lane
  order by g.name, c.lane`;

export async function groupStatus(db: Queryable): Promise<GroupStatus[]> {
  const { rows } = await db.query<GroupStatus>(GROUP_STATUS, [LAG_COUNTED_EXACTLY]);
  return rows;
}

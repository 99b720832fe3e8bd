// Who holds which lane of a group: all that workers need to know of each other to share it.

import type { Queryable } from '@pulsebox/postgres';

export interface LaneHolding {
  readonly lane: number;
  /** Null: nobody holds it, or its holder's time is over. */
  readonly holder: string | null;
  /** Who asked for it, or who alone can take it until `expiresInMs` are over, while nobody holds it. */
  readonly wantedBy: string | null;
  /** Milliseconds until the lease, or the reservation, ends on the database's clock. 0: it is free. */
  readonly expiresInMs: number;
}

/**
 * Result: one row per lane. $1 group. Indexes: consumer_group_pkey, lease_pkey for each lane.
 * 0 rows: there is no such group.
 */
export const LANE_HOLDERS = `
  select lane.n as lane,
         case when l.expires_at > now.at then l.holder end as holder,
         case when l.expires_at > now.at then l.wanted_by end as "wantedBy",
         coalesce(greatest(0, extract(epoch from l.expires_at - now.at)) * 1000, 0)::float8 as "expiresInMs"
  from outbox.consumer_group g
  cross join (select clock_timestamp() as at) now
  cross join lateral generate_series(0, g.lanes - 1) as lane(n)
  left join lateral (
    select holder, wanted_by, expires_at from pulsebox.lease
    where name = 'outbox/' || g.name || '/' || lane.n limit 1
  ) l on true
  where g.name = $1
  order by lane.n`;

export async function laneHolders(db: Queryable, group: string): Promise<LaneHolding[]> {
  const { rows } = await db.query<LaneHolding>(LANE_HOLDERS, [group]);
  return rows;
}

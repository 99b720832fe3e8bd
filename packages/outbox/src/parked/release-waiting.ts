// Puts on the schedule what waits behind other events of its key, for a group that keeps no order any more: under `key`
// it was parked without a time of its own, and a dead letter in front of it would keep it for ever.

import type { Queryable } from '@pulsebox/postgres';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { HeldLane } from '../lease/lane-of-group.ts';
import { OF_LANE } from './of-lane.ts';

/** Parked events that one statement looks at: there may be millions. */
const STRIDE = 10_000;

/**
 * Result: one row: how many events were looked at and the last of them, and how many are due now. $1 group, $2 lane,
 * $3 the lease's name, $4 token, $5 the position to go on behind, $6 how many to look at. Indexes: lease_pkey,
 * parked_pkey. released 0: none waited, or the lease was lost. Rows are compared, which leaves the planner no other
 * index: without statistics it would sort all that the group has.
 */
export const RELEASE_WAITING: string = `
  with lease as (
    select from pulsebox.lease where name = $3 and token = $4 for share
  ),
  looked as materialized (
    select p.position, p.state = 'parked' and p.next_attempt_at is null and p.attempting_since is null as waits
    from outbox.parked p
    where (p.group_name, p.position) > ($1, $5::bigint) and (p.group_name, p.position) < ($1, 9223372036854775807)
    order by p.group_name, p.position limit $6
  ),
  chosen as materialized (
    select locked.position
    from lease, looked
    cross join lateral (
      select p.position from outbox.parked p
      where p.group_name = $1 and p.position = looked.position
        and coalesce(p.state = 'parked', false) and p.next_attempt_at is null
        and ${OF_LANE}
      limit 1
      for update
    ) locked
    where looked.waits
  ),
  released as (
    update outbox.parked p set next_attempt_at = clock_timestamp()
    from chosen
    where p.group_name = $1 and p.position = chosen.position
    returning 1
  )
  select count(*)::integer as looked, max(position)::float8 as last,
         (select count(*) from released)::integer as released
  from looked`;

/** Result: how many there were. Goes through all that the group has parked, once, in bounded steps. */
export async function releaseWaiting(
  db: Queryable,
  lane: HeldLane,
  stride: number = STRIDE,
): Promise<number> {
  const values = [lane.group, lane.lane, laneLeaseName(lane), lane.token];
  let sum = 0;
  let behind = 0;
  for (;;) {
    const { rows } = await db.query<{ looked: number; last: number | null; released: number }>(
      RELEASE_WAITING,
      [...values, behind, stride],
    );
    const { looked = 0, last = null, released = 0 } = rows[0] ?? {};
    sum += released;
    if (looked < stride || last === null) return sum;
    behind = last;
  }
}

// Which parked events are due: asked for every so often, by the reader of their lane.

import type { Queryable } from '@pulsebox/postgres';
import type { DeliveryOrder } from '../deliver/deliver.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { HeldLane, LaneOfGroup } from '../lease/lane-of-group.ts';
import { OF_LANE } from './of-lane.ts';

export interface DueEvent {
  readonly position: number;
  /** Milliseconds until it is due; 0 or less: it is. */
  readonly dueInMs: number;
  /** Its last attempt ended its worker, or so it seems: nothing is handed over beside it. */
  readonly alone: boolean;
  /** It has a key, and has not failed itself (since it was replayed): what waits behind it may go out with it. */
  readonly leads: boolean;
}

/**
 * Result: events that are scheduled, soonest first, and whether each is the first of its key. $1 group, $2 lane,
 * $3 whether order is kept, $4 how many at most. Index: parked_due, and parked_key once for each row. 0 rows: nothing is
 * scheduled; what is parked, if anything, is dead or stands behind what is.
 */
export const LOOK_AT_DUE: string = `
  select d.position::float8 as position,
         (extract(epoch from d.next_attempt_at - statement_timestamp()) * 1000)::float8 as "dueInMs",
         coalesce((d.errors -> -1) ? 'workerEnded', false) as alone,
         d.key is not null and d.attempts = 0 as leads,
         (not $3 or d.key is null or (
           select h.position from outbox.parked h
           where h.group_name = $1 and h.key = d.key order by h.position limit 1
         ) = d.position) as first
  from (
    select p.position, p.key, p.attempts, p.next_attempt_at, p.errors from outbox.parked p
    where p.group_name = $1 and p.next_attempt_at is not null
      and ${OF_LANE}
    order by p.next_attempt_at
    limit $4
  ) d
  order by d.next_attempt_at`;

/**
 * Takes events off the schedule that are not the first of their key: they were parked while the group kept no order,
 * it was sought backwards since, or they were replayed with others of their key. They are due once those before them are
 * gone. $1 group, $2 positions, $3 the lease's name, $4 token. Indexes: lease_pkey, parked_pkey, parked_key. Waits for one
 * before it that is being discarded: its end has left the next one on the schedule as it was, and does not see it taken
 * off here. 0 rows: those before them are gone, or the lease was lost. The lease is locked first, as by all that change
 * several parked events: in which order they lock those does not matter then.
 */
export const UNSCHEDULE = `
  with lease as (
    select from pulsebox.lease where name = $3 and token = $4 for share
  )
  update outbox.parked p set next_attempt_at = null
  from lease
  where p.group_name = $1 and p.position = any($2::bigint[]) and exists (
    select from outbox.parked h where h.group_name = $1 and h.key = p.key and h.position < p.position
    order by h.position limit 1
    for key share)`;

/**
 * Result: whether the group has parked events or dead letters, in any lane. $1 group. Index: parked_pkey, in its order:
 * a bare `exists` may be a scan from the start of the table, where there may be nothing but dead rows.
 */
export const HAS_PARKED = `
  select (select position from outbox.parked where group_name = $1 order by position limit 1) is not null as parked`;

export async function lookAtDue(
  db: Queryable,
  lane: HeldLane,
  options: { readonly order: DeliveryOrder; readonly limit: number },
): Promise<DueEvent[]> {
  const values = [lane.group, lane.lane, options.order === 'key', options.limit];
  for (;;) {
    const { rows } = await db.query<DueEvent & { readonly first: boolean }>(LOOK_AT_DUE, values);
    const behind = rows.filter(({ first }) => !first).map(({ position }) => position);
    const { rowCount } =
      behind.length === 0
        ? { rowCount: 0 }
        : await db.query(UNSCHEDULE, [lane.group, behind, laneLeaseName(lane), lane.token]);
    // Nothing but what is no longer scheduled: the first of its key is due later than a whole look of the others.
    if (behind.length < options.limit || rowCount === 0) return rows.filter(({ first }) => first);
  }
}

export async function hasParked(db: Queryable, lane: LaneOfGroup): Promise<boolean> {
  const { rows } = await db.query<{ parked: boolean }>(HAS_PARKED, [lane.group]);
  return rows[0]?.parked === true;
}

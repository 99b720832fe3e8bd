// Which parked events are due: asked for now and then, by the reader of their lane.

import type { Queryable } from '@pulsebox/postgres';
import type { DeliveryOrder } from './deliver.ts';
import type { LaneOfGroup } from './store-cursor.ts';

export interface DueEvent {
  readonly position: number;
  /** Milliseconds until it is due; 0 or less: it is. */
  readonly dueInMs: number;
  /** Its last attempt ended its worker, or so it seems: nothing is handed over beside it. */
  readonly alone: boolean;
}

/**
 * Of a parked event `p` of group $1: whether lane $2 delivers it. Rows carry no lane: a change of lanes moves them all
 * at once. A reader that does not know of the change yet sees those of another, and can claim none.
 */
export const OF_LANE = `
    outbox.lane_of(p.key, p.position, (select lanes from outbox.consumer_group where name = $1)) = $2`;

/**
 * Result: events that are tried next, soonest first; one for each key that order is kept for. $1 group, $2 lane,
 * $3 whether order is kept, $4 how many at most. Index: parked_due, and parked_key once for each row. 0 rows: nothing is
 * scheduled; what is parked, if anything, is dead or stands behind what is.
 */
export const LOOK_AT_DUE: string = `
  select p.position::float8 as position,
         (extract(epoch from p.next_attempt_at - statement_timestamp()) * 1000)::float8 as "dueInMs",
         (p.errors -> -1) ? 'workerEnded' as alone
  from outbox.parked p
  where p.group_name = $1 and p.next_attempt_at is not null
    and ${OF_LANE}
    and (not $3 or p.key is null or (
      select h.position from outbox.parked h
      where h.group_name = p.group_name and h.key = p.key order by h.position limit 1
    ) = p.position)
  order by p.next_attempt_at
  limit $4`;

/** Result: whether the group has parked events or dead letters, in any lane. $1 group. Index: parked_pkey. */
export const HAS_PARKED = `
  select exists (select from outbox.parked where group_name = $1 limit 1) as parked`;

export async function lookAtDue(
  db: Queryable,
  lane: LaneOfGroup,
  options: { readonly order: DeliveryOrder; readonly limit: number },
): Promise<DueEvent[]> {
  const { rows } = await db.query<DueEvent>(LOOK_AT_DUE, [
    lane.group,
    lane.lane,
    options.order === 'key',
    options.limit,
  ]);
  return rows;
}

export async function hasParked(db: Queryable, lane: LaneOfGroup): Promise<boolean> {
  const { rows } = await db.query<{ parked: boolean }>(HAS_PARKED, [lane.group]);
  return rows[0]?.parked === true;
}

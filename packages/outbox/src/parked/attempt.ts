// The mark of an attempt that may end its worker: written before the event is handed over, read by the next reader.

import type { Queryable } from '@pulsebox/postgres';
import type { HeldLane, LaneOfGroup } from '../lease/lane-of-group.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';

export interface AttemptMark {
  readonly position: number;
  /** Attempts at this event alone, in a row, that nobody lived to see the end of. 0: whole batches from there on. */
  readonly attempts: number;
}

/** Result: the mark. $1 group, $2 lane. Index: attempt_pkey. 0 rows: the lane was read without fear. */
export const LOAD_ATTEMPT = `
  select position::float8 as position, attempts from outbox.attempt where group_name = $1 and lane = $2`;

/** $1 group, $2 lane, $3 position, $4 attempts, $5 the lease's name, $6 token. Indexes: lease_pkey, attempt_pkey. 0 rows: the lease was lost. */
export const MARK_ATTEMPT = `
  with lease as (
    select from pulsebox.lease where name = $5 and token = $6 for share
  )
  insert into outbox.attempt (group_name, lane, position, attempts)
  select $1, $2, $3, $4 from lease
  on conflict (group_name, lane) do update
    set position = excluded.position, attempts = excluded.attempts, started_at = clock_timestamp()`;

/** $1 group, $2 lane, $3 the lease's name, $4 token. Indexes: lease_pkey, attempt_pkey. */
export const CLEAR_ATTEMPT = `
  with lease as (
    select from pulsebox.lease where name = $3 and token = $4 for share
  )
  delete from outbox.attempt a using lease where a.group_name = $1 and a.lane = $2`;

export async function loadAttempt(db: Queryable, lane: LaneOfGroup): Promise<AttemptMark | undefined> {
  const { rows } = await db.query<AttemptMark>(LOAD_ATTEMPT, [lane.group, lane.lane]);
  return rows[0];
}

/** False: the lease was lost. */
export async function markAttempt(db: Queryable, lane: HeldLane, mark: AttemptMark): Promise<boolean> {
  const { rowCount } = await db.query(MARK_ATTEMPT, [
    lane.group,
    lane.lane,
    mark.position,
    mark.attempts,
    laneLeaseName(lane),
    lane.token,
  ]);
  return rowCount === 1;
}

export async function clearAttempt(db: Queryable, lane: HeldLane): Promise<void> {
  await db.query(CLEAR_ATTEMPT, [lane.group, lane.lane, laneLeaseName(lane), lane.token]);
}

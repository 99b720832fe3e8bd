// What the database says of a lane to whoever has just got its lease: of how many it is one, and whether it stops at a
// barrier, since the group's lanes change.

import type { Queryable } from '@pulsebox/postgres';
import type { LaneSlice } from '../read/batch.ts';
import type { Barrier } from '../read/read-to-barrier.ts';
import { laneLeaseName } from './lane-of-group.ts';
import type { LaneOfGroup } from './lane-of-group.ts';

export interface LaneState {
  readonly slice: LaneSlice;
  readonly barrier: Barrier | null;
}

/**
 * Result: one row. $1 group, $2 lane, $3 the lease's name, $4 its token. Indexes: consumer_group_pkey, lease_pkey.
 * 0 rows: the lease was lost, or the group has no such lane any more.
 *
 * The token is looked at under the same snapshot as the lanes: a change of lanes moves tokens on in the transaction in
 * which it ends, so whoever sees the new lanes here has a lease on one of them.
 */
export const LOAD_LANE_STATE = `
  select g.lanes, g.resize_position::float8 as position, g.resize_snapshot::text as snapshot,
         g.resize_ceiling::text as ceiling, s.era_floor::float8 as floor
  from outbox.consumer_group g cross join outbox.setting s
  where g.name = $1 and g.lanes > $2
    and exists (select from pulsebox.lease l where l.name = $3 and l.token = $4)`;

export async function loadLaneState(
  db: Queryable,
  lane: LaneOfGroup,
  token: number,
): Promise<LaneState | undefined> {
  const { rows } = await db.query<{
    lanes: number;
    position: number | null;
    snapshot: string | null;
    ceiling: string | null;
    floor: number;
  }>(LOAD_LANE_STATE, [lane.group, lane.lane, laneLeaseName(lane), token]);
  const row = rows[0];
  if (row === undefined) return undefined;
  const { lanes, position, snapshot, ceiling, floor } = row;
  const barrier =
    position === null || snapshot === null || ceiling === null
      ? null
      : { position, snapshot, ceiling, floor };
  return { slice: { lane: lane.lane, lanes }, barrier };
}

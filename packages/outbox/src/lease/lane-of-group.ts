// Which lane of which group, and what its lease is called.

export interface LaneOfGroup {
  readonly group: string;
  readonly lane: number;
}

/** A lane under the lease that it is held by. */
export interface HeldLane extends LaneOfGroup {
  readonly token: number;
}

/** The name of a lane's lease. */
export function laneLeaseName(lane: LaneOfGroup): string {
  return laneLeasePrefix(lane.group) + lane.lane;
}

/** What the names of a group's leases begin with, and those of its queues. */
export function laneLeasePrefix(group: string): string {
  return `outbox/${group}/`;
}

// What waits behind the first event of a key, and goes out with it: a key that many events have gathered behind would
// otherwise drain one event a redrive.
//
// Behind one that has failed nothing goes out before it is delivered: each further attempt at it would repeat them. So
// an event takes its followers once it has not failed itself, as those that it takes have not.

import type { Queryable } from '@pulsebox/postgres';
import type { LaneOfGroup } from '../lease/lane-of-group.ts';
import type { DueEvent } from './redrive-due.ts';

/** Positions of one key in order, from its first on, with no event of the key between them. */
export type Chain = readonly number[];

/**
 * Result: for each of the events, the positions of those right behind it in its key that have not failed (since they
 * were replayed), up to the first that has, or that is dead. $1 group, $2 positions, $3 how many behind each at most.
 * Indexes: parked_pkey once for each event, parked_key from there on. 0 rows: nothing waits behind them.
 * One whose last attempt ended its worker, as far as is known, goes out alone.
 */
export const FOLLOWERS = `
  select head.position::float8 as head, f.position::float8 as position
  from unnest($2::bigint[]) as head(position)
  cross join lateral (
    select p.key from outbox.parked p
    where p.group_name = $1 and p.position = head.position and p.key is not null limit 1
  ) of
  cross join lateral (
    select behind.position, bool_and(behind.well) over (order by behind.position) as all_well
    from (
      select p.position,
             p.state = 'parked' and p.attempts = 0 and p.attempting_since is null
               and not coalesce((p.errors -> -1) ? 'workerEnded', false) as well
      from outbox.parked p
      where p.group_name = $1 and p.key = of.key and p.position > head.position
      order by p.position limit $3
    ) behind
  ) f
  where f.all_well
  order by head.position, f.position`;

export interface FollowersOptions {
  readonly heads: readonly DueEvent[];
  /** The most events of all chains together. */
  readonly limit: number;
  /** Goes out alone, and ends a chain before it. */
  readonly isSuspect: (position: number) => boolean;
}

/** A chain for each of the heads; what the limit leaves is shared evenly by those that may take others with them. */
export async function withFollowers(
  db: Queryable,
  lane: LaneOfGroup,
  { heads, limit, isSuspect }: FollowersOptions,
): Promise<Chain[]> {
  const room = limit - heads.length;
  const leaders = heads.filter(({ leads }) => leads).slice(0, Math.max(0, room));
  const chains = new Map<number, number[]>(heads.map(({ position }) => [position, [position]]));
  if (leaders.length > 0) {
    const { rows } = await db.query<{ head: number; position: number }>(FOLLOWERS, [
      lane.group,
      leaders.map(({ position }) => position),
      Math.floor(room / leaders.length),
    ]);
    for (const { head, position } of rows) chains.get(head)?.push(position);
  }
  return [...chains.values()].map((chain) => {
    const end = chain.findIndex((position, n) => n > 0 && isSuspect(position));
    return end === -1 ? chain : chain.slice(0, end);
  });
}

/** What was claimed behind an event of its chain that was not: somebody else has that one under his hands. */
export function behindGaps(chains: readonly Chain[], claimed: ReadonlySet<number>): number[] {
  return chains.flatMap((chain) => {
    const gap = chain.findIndex((position) => !claimed.has(position));
    return gap === -1 ? [] : chain.slice(gap).filter((position) => claimed.has(position));
  });
}

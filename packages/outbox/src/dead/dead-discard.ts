// Discards parked events: they will not be delivered to their group, and what waits behind them goes on.

import type { Pool } from 'pg';
import { resolveFilter } from './dead-filter.ts';
import type { DeadFilter, ParkedState } from './dead-filter.ts';
import { ATTEMPTING, inChunks, missingIds, selectedBy } from './dead-selection.ts';

export interface DiscardOptions {
  readonly filter: DeadFilter;
  /** Which of them. `parked`: also those that might yet be delivered. Default `dead`. */
  readonly state?: ParkedState;
  /** Count what would be discarded, and change nothing. Default false. */
  readonly dryRun?: boolean;
}

export interface DiscardReport {
  readonly dryRun: boolean;
  readonly discarded: number;
  /** Kept: the handler has them at this moment, and what becomes of them is not known. */
  readonly underWay: number;
  /** Matched but for their state: parked where dead letters were meant, or the other way round. */
  readonly otherState: number;
  /** Ids that were asked for and are not there, such as `search/1042`. */
  readonly missing: readonly string[];
  readonly groups: readonly {
    readonly group: string;
    readonly discarded: number;
    readonly underWay: number;
  }[];
}

/**
 * $1 group, $2 positions, $3 the state. As REPLAY_CHUNK; one that is being tried, or is not in that state any more, is
 * passed over. The table's trigger makes due what stands first in its key now. Index: parked_pkey.
 */
export const DISCARD_CHUNK: string = `
  with chosen as materialized (
    select locked.position
    from unnest($2::bigint[]) as wanted(position)
    cross join lateral (
      select p.position from outbox.parked p
      where p.group_name = $1 and p.position = wanted.position and coalesce(p.state = $3, false) and not ${ATTEMPTING}
      limit 1
      for update
    ) locked
  )
  delete from outbox.parked p
  using chosen
  where p.group_name = $1 and p.position = chosen.position`;

/**
 * Cannot be undone: the log may have dropped these events.
 *
 * @throws OUTBOX_FILTER_INVALID, OUTBOX_GROUP_UNKNOWN
 */
export async function discardDead(
  pool: Pool,
  { filter, state = 'dead', dryRun = false }: DiscardOptions,
): Promise<DiscardReport> {
  const values = await resolveFilter(pool, filter);
  const missing = await missingIds(pool, values);
  const groups: { group: string; discarded: number; underWay: number }[] = [];
  let otherState = 0;
  for (const { group, dead, parked, attempting } of await selectedBy(pool, values)) {
    const underWay = state === 'parked' ? attempting : 0;
    const expected = (state === 'parked' ? parked : dead) - underWay;
    otherState += state === 'parked' ? dead : parked;
    const discarded =
      dryRun || expected === 0
        ? expected
        : await inChunks({
            pool,
            values,
            group,
            state,
            change: async (client, positions) =>
              (await client.query(DISCARD_CHUNK, [group, positions, state])).rowCount ?? 0,
          });
    groups.push({ group, discarded, underWay });
  }
  return {
    dryRun,
    discarded: groups.reduce((sum, { discarded }) => sum + discarded, 0),
    underWay: groups.reduce((sum, { underWay }) => sum + underWay, 0),
    otherState,
    missing,
    groups,
  };
}

// Discards parked events: they will not be delivered to their group, and what waits behind them goes on.

import type { Pool } from 'pg';
import { MATCHES, resolveFilter } from './dead-filter.ts';
import type { DeadFilter, ParkedState } from './dead-filter.ts';
import { ATTEMPTING, CHUNK_ROWS, inChunks, missingIds, selectedBy } from './dead-selection.ts';
import type { Chunk } from './dead-selection.ts';

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
 * Result: one row. $1 to $7 the filter, $8 the group, $9 the position to go on behind, $10 the state. Rows are locked in
 * the order of positions; one that is being tried is passed over. Index: parked_dead or parked_pkey.
 * The table's trigger makes due what stands first in its key now.
 */
export const DISCARD_CHUNK: string = `
  with chosen as materialized (
    select p.group_name, p.position from outbox.parked p
    where ${MATCHES} and p.state = $10 and p.group_name = $8 and p.position > $9 and not ${ATTEMPTING}
    order by p.position limit ${CHUNK_ROWS}
    for update
  ), discarded as (
    delete from outbox.parked p
    using chosen where (p.group_name, p.position) = (chosen.group_name, chosen.position)
    returning p.position
  )
  select count(*)::float8 as changed, max(position)::float8 as last from discarded`;

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
        : await inChunks(pool, group, async (client, behind) => {
            const { rows } = await client.query<Chunk>(DISCARD_CHUNK, [...values, group, behind, state]);
            return rows[0] ?? { changed: 0, last: null };
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

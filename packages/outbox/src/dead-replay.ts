// Replays dead letters: they are tried again from the first attempt on, in order within a key.

import type { Pool } from 'pg';
import { MATCHES, resolveFilter } from './dead-filter.ts';
import type { DeadFilter } from './dead-filter.ts';
import { CHUNK_ROWS, inChunks, missingIds, selectedBy } from './dead-selection.ts';
import type { Chunk } from './dead-selection.ts';

export interface ReplayOptions {
  readonly filter: DeadFilter;
  /** Count what would be replayed, and change nothing. Default false. */
  readonly dryRun?: boolean;
}

export interface ReplayReport {
  readonly dryRun: boolean;
  readonly replayed: number;
  /** Matched as well and are no dead letters, or no more: they are tried again anyhow. */
  readonly underWay: number;
  /** Ids that were asked for and are not there, such as `search/1042`. */
  readonly missing: readonly string[];
  readonly groups: readonly {
    readonly group: string;
    readonly replayed: number;
    readonly underWay: number;
  }[];
}

/**
 * Result: one row. $1 to $7 the filter, $8 the group, $9 the position to go on behind. Rows are locked in the order of
 * positions. Index: parked_dead or parked_pkey.
 * All of them become due: the reader of a group that keeps order takes the first of a key alone, and the next one when
 * that is done with. The table's trigger wakes readers, as producers do.
 */
export const REPLAY_CHUNK: string = `
  with chosen as materialized (
    select p.group_name, p.position from outbox.parked p
    where ${MATCHES} and p.state = 'dead' and p.group_name = $8 and p.position > $9
    order by p.position limit ${CHUNK_ROWS}
    for update
  ), replayed as (
    update outbox.parked p
    set state = 'parked', attempts = 0, attempting_since = null,
        next_attempt_at = clock_timestamp()
    from chosen where (p.group_name, p.position) = (chosen.group_name, chosen.position)
    returning p.position
  )
  select count(*)::float8 as changed, max(position)::float8 as last from replayed`;

/**
 * Repeating it harms nothing. What is a dead letter again meanwhile, behind the place where a long replay is, stays one.
 *
 * @throws OUTBOX_FILTER_INVALID, OUTBOX_GROUP_UNKNOWN
 */
export async function replayDead(
  pool: Pool,
  { filter, dryRun = false }: ReplayOptions,
): Promise<ReplayReport> {
  const values = await resolveFilter(pool, filter);
  const missing = await missingIds(pool, values);
  const groups: { group: string; replayed: number; underWay: number }[] = [];
  for (const { group, dead, parked } of await selectedBy(pool, values)) {
    const replayed =
      dryRun || dead === 0
        ? dead
        : await inChunks(pool, group, async (client, behind) => {
            const { rows } = await client.query<Chunk>(REPLAY_CHUNK, [...values, group, behind]);
            return rows[0] ?? { changed: 0, last: null };
          });
    groups.push({ group, replayed, underWay: parked });
  }
  return {
    dryRun,
    replayed: groups.reduce((sum, { replayed }) => sum + replayed, 0),
    underWay: groups.reduce((sum, { underWay }) => sum + underWay, 0),
    missing,
    groups,
  };
}

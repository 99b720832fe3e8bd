// Replays dead letters: they are tried again from the first attempt on, in order within a key.

import type { Pool } from 'pg';
import { resolveFilter } from './dead-filter.ts';
import type { DeadFilter } from './dead-filter.ts';
import { inChunks, missingIds, selectedBy } from './dead-selection.ts';

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
 * $1 group, $2 positions, in order: rows are locked in it. One that is no dead letter any more is passed over.
 * All of them become due: the reader of a group that keeps order takes the first of a key alone, and the next one when
 * that is done with. The table's trigger wakes readers, as producers do.
 * Index: parked_pkey, a probe for each; written as a condition on a list, without statistics the planner went through
 * all that the group has, for each chunk.
 */
export const REPLAY_CHUNK: string = `
  with chosen as materialized (
    select locked.position
    from unnest($2::bigint[]) as wanted(position)
    cross join lateral (
      select p.position from outbox.parked p
      where p.group_name = $1 and p.position = wanted.position and coalesce(p.state = 'dead', false)
      limit 1
      for update
    ) locked
  )
  update outbox.parked p
  set state = 'parked', attempts = 0, attempting_since = null, next_attempt_at = clock_timestamp()
  from chosen
  where p.group_name = $1 and p.position = chosen.position`;

/**
 * Repeating it harms nothing. Each is replayed once, also if it is a dead letter again before a long replay has ended.
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
        : await inChunks({
            pool,
            values,
            group,
            state: 'dead',
            change: async (client, positions) =>
              (await client.query(REPLAY_CHUNK, [group, positions])).rowCount ?? 0,
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

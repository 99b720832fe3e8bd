// Drops partitions of the log that every group has passed. Which, and why that is safe, stands with the function in
// the migration 0003: the checks and the drop are one transaction.

import type { Queryable } from '@pulsebox/postgres';

export interface RetentionOptions {
  /** How long a partition is kept after its last event was written, in seconds. */
  readonly keepSeconds: number;
  /** Nothing is dropped while a lease runs whose name begins with one of these. Default: none. */
  readonly pinnedBy?: readonly string[];
}

/**
 * `kept`: the oldest partition is too young, or in use. `open`: a transaction that may have events in it has not ended.
 * `pinned`: somebody reads the log from a cursor of his own, under the lease named. `behind`: the group named has not
 * passed it, or there is no group. `busy`: producers would have had to wait; worth trying again later.
 */
export type RetentionOutcome =
  | { readonly outcome: 'dropped'; readonly partition: string }
  | { readonly outcome: 'kept' | 'open' | 'busy' }
  | { readonly outcome: 'pinned' | 'behind'; readonly blockedBy: string | null };

/** Result: how many partitions were found to be full. Reads the catalogue; takes an xid only where there is one. */
const SEAL_PARTITIONS = `select outbox.seal_partitions() as sealed`;

/** Result: one row. $1 seconds, $2 prefixes. */
const DROP_OLDEST_PARTITION = `
  select outcome, partition, blocked_by from outbox.drop_oldest_partition($1 * interval '1 second', $2)`;

/**
 * Drops the oldest partition if nobody needs it any more. Producers wait for it for 100 ms at most.
 *
 * @param db a pool, or a connection outside a transaction
 */
export async function dropOldestPartition(
  db: Queryable,
  { keepSeconds, pinnedBy = [] }: RetentionOptions,
): Promise<RetentionOutcome> {
  await db.query(SEAL_PARTITIONS);
  const { rows } = await db.query<{
    outcome: RetentionOutcome['outcome'];
    partition: string | null;
    blocked_by: string | null;
  }>(DROP_OLDEST_PARTITION, [keepSeconds, pinnedBy]);
  const row = rows[0];
  if (row === undefined) throw new Error('retention gave no answer');
  const { outcome } = row;
  if (outcome === 'dropped') return { outcome, partition: row.partition ?? '' };
  if (outcome === 'pinned' || outcome === 'behind') return { outcome, blockedBy: row.blocked_by };
  return { outcome };
}

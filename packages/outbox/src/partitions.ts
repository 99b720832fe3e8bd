// Keeps partitions of the log ahead of its sequence, so that no insert ever finds none.

import type { Queryable } from '@pulsebox/postgres';

/**
 * Partitions beyond the one in use: 20 million events that may arrive with no worker running, 20 hours at a million an
 * hour. More of them would cost every read: each is planned for.
 */
const PARTITIONS_AHEAD = 2;

/** Events that a partition has room for. */
export const PARTITION_SIZE = 10_000_000;

/** Result: how many were made. Reads the catalogue; takes a share update exclusive lock only where one is missing. */
const CREATE_PARTITIONS = `select outbox.create_partitions($1, $2) as made`;

/** The light question first: Result: whether fewer than $1 partitions' worth of room is left, of $2 events each. */
const PARTITIONS_MISSING = `
  select coalesce(max(split_part(c.relname, '_', 3)::bigint), 0)
         <= (select last_value from outbox.event_seq) + $1::bigint * $2::bigint as missing
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'outbox.event'::regclass`;

/**
 * @param size events that each new partition has room for
 * @returns how many partitions were made; 0 nearly always
 */
export async function createPartitionsAhead(db: Queryable, size: number = PARTITION_SIZE): Promise<number> {
  const { rows: check } = await db.query<{ missing: boolean }>(PARTITIONS_MISSING, [PARTITIONS_AHEAD, size]);
  if (check[0]?.missing !== true) return 0;
  const { rows } = await db.query<{ made: number }>(CREATE_PARTITIONS, [PARTITIONS_AHEAD, size]);
  return rows[0]?.made ?? 0;
}

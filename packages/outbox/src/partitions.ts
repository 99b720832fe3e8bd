// Keeps partitions of the log ahead of its sequence, so that no insert ever finds none.

import type { Queryable } from '@pulsebox/postgres';

/** Partitions beyond the one in use: 20 million events that may arrive with no worker running. */
const PARTITIONS_AHEAD = 2;

/** Result: how many were made. Reads the catalogue; takes a share update exclusive lock only where one is missing. */
const CREATE_PARTITIONS = `select outbox.create_partitions($1) as made`;

/** The light question first: Result: whether fewer than $1 partitions' worth of room is left. */
const PARTITIONS_MISSING = `
  select coalesce(max(split_part(c.relname, '_', 3)::bigint), 0)
         <= (select last_value from outbox.event_seq) + $1::bigint * 10000000 as missing
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'outbox.event'::regclass`;

/** @returns how many partitions were made; 0 nearly always */
export async function createPartitionsAhead(db: Queryable): Promise<number> {
  const { rows: check } = await db.query<{ missing: boolean }>(PARTITIONS_MISSING, [PARTITIONS_AHEAD]);
  if (check[0]?.missing !== true) return 0;
  const { rows } = await db.query<{ made: number }>(CREATE_PARTITIONS, [PARTITIONS_AHEAD]);
  return rows[0]?.made ?? 0;
}

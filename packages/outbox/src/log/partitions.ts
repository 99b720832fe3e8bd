// Keeps partitions of the log ahead of its sequence. What comes while nobody does goes into the overflow, the last
// partition, which has no end; how that becomes a partition like the others stands in the migration 0006.

import type { Queryable } from '@pulsebox/postgres';

/** Partitions beyond the one in use, besides the overflow. More of them would cost every read: each is planned for. */
const PARTITIONS_AHEAD = 1;

/** Events that a partition has room for. */
export const PARTITION_SIZE = 10_000_000;

/** Result: how many were made. Reads the catalogue; takes a share update exclusive lock only where one is missing. */
const CREATE_PARTITIONS = `select outbox.create_partitions($1, $2) as made`;

/**
 * The light question first: Result: whether there is less room than for $1 partitions of $2 events before the overflow
 * begins, or no overflow. Reads the catalogue.
 */
const PARTITIONS_MISSING = `
  select coalesce(max(upper_bound), 0) <= (select last_value from outbox.event_seq) + $1::bigint * $2::bigint
         or count(*) = count(upper_bound) as missing
  from outbox.partition`;

/** Result: one row. $1 events of a partition. Waits for a lock on the log for 100 ms at most. */
const CUT_OVERFLOW = `select outbox.cut_overflow($1) as outcome`;

/** Reads the overflow once. Nobody waits for it but other changes of its definition. */
const CHECK_OVERFLOW = `alter table outbox.event_overflow validate constraint event_overflow_end`;

/**
 * `enough`: nothing was to be done, nearly always. `made`: a partition was, without a lock that anybody waits for.
 * `cut`: the overflow was given an end. `busy`: it is about to be, once no transaction has used the log for longer than
 * 100 ms. `unchecked`: it has many events, which `checkOverflow` must look at first.
 */
export type RoomOutcome = 'enough' | 'made' | 'cut' | 'busy' | 'unchecked';

/**
 * Makes at most what is missing, one cut at a time; call it again until there is enough.
 *
 * @param db a pool, or a connection outside a transaction
 * @param size events that each new partition has room for
 */
export async function makeRoom(db: Queryable, size: number = PARTITION_SIZE): Promise<RoomOutcome> {
  if (!(await isMissing(db, size))) return 'enough';
  const { rows: made } = await db.query<{ made: number }>(CREATE_PARTITIONS, [PARTITIONS_AHEAD, size]);
  if (!(await isMissing(db, size))) return (made[0]?.made ?? 0) > 0 ? 'made' : 'enough';
  const { rows: cut } = await db.query<{ outcome: RoomOutcome | 'none' }>(CUT_OVERFLOW, [size]);
  const outcome = cut[0]?.outcome ?? 'none';
  if (outcome === 'none') throw new Error('the log has no overflow, though one was just made');
  return outcome;
}

/** Result: one row. Whoever else checks already is not waited for. */
const WAIT_BRIEFLY = `select set_config('lock_timeout', '100ms', true)`;

/**
 * Looks at every row of the overflow, so that it can be cut. Takes seconds for ten million, and locks nobody out.
 * Whoever else does it already, or changes the log otherwise, goes first: then nothing is done.
 *
 * @param db a transaction that may last for long
 */
export async function checkOverflow(db: Queryable): Promise<void> {
  await db.query(WAIT_BRIEFLY);
  await db.query(CHECK_OVERFLOW);
}

async function isMissing(db: Queryable, size: number): Promise<boolean> {
  const { rows } = await db.query<{ missing: boolean }>(PARTITIONS_MISSING, [PARTITIONS_AHEAD, size]);
  return rows[0]?.missing === true;
}

// A log that was restored into another cluster: notice it, and read on. Why that is sound stands in the migration 0003.

import type { Queryable } from '@pulsebox/postgres';

/** Result: whether the log carries xids of another cluster. Indexes: event_pkey, backwards. */
export const RESTORED_ELSEWHERE = `select outbox.restored_elsewhere() as restored`;

/** Result: whether the cursors were moved; false when another process has done it meanwhile. */
const REBASE = `select outbox.rebase_after_restore() as rebased`;

/**
 * Moves every group's cursor into this cluster if the log comes from another one. Cheap when it does not.
 * Waits up to 5 s for transactions that write to the log, and fails then; try again.
 *
 * @param db a pool, or a connection outside a transaction
 * @returns whether there was anything to do
 */
export async function rebaseAfterRestore(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ restored: boolean }>(RESTORED_ELSEWHERE);
  if (rows[0]?.restored !== true) return false;
  const { rows: done } = await db.query<{ rebased: boolean }>(REBASE);
  return done[0]?.rebased === true;
}

// A cursor at the end of the log, kept by the caller: for a reader that needs no group, such as a rebuild.

import type { Queryable } from '@pulsebox/postgres';
import type { Cursor } from './cursor.ts';

/**
 * Result: one row. Index: event_pkey, backwards, in each partition from the last.
 * The position is read under the snapshot that is returned, and the ceiling is assigned after it was taken. Events
 * below the position whose transactions are still open are late ones to this cursor: they are read when they commit.
 */
export const END_OF_LOG = `
  select coalesce((select max(seq) from outbox.event), 0)::float8 as position,
         pg_current_snapshot()::text as snapshot,
         pg_current_xact_id()::text as ceiling`;

/**
 * Where the log ends now: `readBatch` from this cursor yields every event that commits after this call, and none that
 * was committed before it.
 *
 * @param db a pool, or a connection outside a transaction: the xid that a transaction has already is below those of
 * transactions that were open when the snapshot was taken, and no ceiling
 */
export async function endOfLog(db: Queryable): Promise<Cursor> {
  const { rows } = await db.query<Omit<Cursor, 'frozen'>>(END_OF_LOG);
  const row = rows[0];
  if (row === undefined) throw new Error('the log did not say where it ends');
  return { ...row, frozen: null };
}

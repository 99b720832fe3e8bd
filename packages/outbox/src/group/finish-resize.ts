// Ends a change of a group's lanes once every old lane stands at the barrier. Whoever notices does it: a reader that
// stands there, or the command that waits. The function of the migration 0005 looks and acts in one transaction.

import type { Queryable } from '@pulsebox/postgres';

/** Result: whether no change is under way (any more). $1 group. Indexes: consumer_group_pkey, cursor_pkey. */
const FINISH_RESIZE = `select outbox.finish_resize($1) as finished`;

export async function finishResize(db: Queryable, group: string): Promise<boolean> {
  const { rows } = await db.query<{ finished: boolean }>(FINISH_RESIZE, [group]);
  return rows[0]?.finished === true;
}

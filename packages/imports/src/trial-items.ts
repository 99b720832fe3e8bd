// What a dry run would have written so far, kept for its later rows (write-items.ts), and removed when it is over.

import type { Queryable } from '@pulsebox/postgres';

/** In one statement. */
const FORGOTTEN_AT_ONCE = 10_000;

/** Result: one row for each that was removed. $1 import, $2 how many at most. By the primary key. */
export const FORGET_TRIAL_ITEMS = `
  delete from app.import_trial_items
  where job_id = $1 and canonical_id in (
    select canonical_id from app.import_trial_items where job_id = $1 order by canonical_id limit $2)`;

/** @param transact one short transaction after the other: there may be millions */
export async function forgetTrialItems(
  jobId: string,
  transact: <T>(work: (db: Queryable) => Promise<T>) => Promise<T>,
): Promise<void> {
  for (;;) {
    const { rowCount } = await transact(async (db) =>
      db.query(FORGET_TRIAL_ITEMS, [jobId, FORGOTTEN_AT_ONCE]),
    );
    if ((rowCount ?? 0) < FORGOTTEN_AT_ONCE) return;
  }
}

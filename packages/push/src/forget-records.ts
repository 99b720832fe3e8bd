// Retention: a record of a delivery is kept for as long as its event could be sent, and then deleted, a few at a time.

import type { Queryable } from '@pulsebox/postgres';

/** $1 how many. Index: delivery_expires_at. 0 rows: nothing has expired. Two who delete at once take other rows each. */
export const FORGET_EXPIRED = `
  delete from push.delivery d using (
    select position, subscription_id from push.delivery where expires_at < now()
    order by expires_at limit $1 for update skip locked) as old
  where d.position = old.position and d.subscription_id = old.subscription_id`;

/** Result: how many were deleted; fewer than `most`: there are no more. */
export async function forgetExpired(db: Queryable, most: number): Promise<number> {
  const { rowCount } = await db.query(FORGET_EXPIRED, [most]);
  return rowCount ?? 0;
}

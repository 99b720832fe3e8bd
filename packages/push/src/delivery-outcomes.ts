// What became of one event, for people who ask.

import type { Queryable } from '@pulsebox/postgres';
import type { DeliveryOutcome } from './delivery.ts';

/** $1 position. Index: delivery_pkey. 0 rows: nothing of it is recorded. */
const COUNT_OUTCOMES = `
  select outcome, count(*)::float8 as deliveries from push.delivery where position = $1 group by outcome`;

/** How many deliveries of the event ended how; outcomes that did not happen are not in it. */
export async function deliveryOutcomes(
  db: Queryable,
  position: number,
): Promise<Readonly<Partial<Record<DeliveryOutcome, number>>>> {
  const { rows } = await db.query<{ outcome: DeliveryOutcome; deliveries: number }>(COUNT_OUTCOMES, [
    position,
  ]);
  return Object.fromEntries(rows.map(({ outcome, deliveries }) => [outcome, deliveries]));
}

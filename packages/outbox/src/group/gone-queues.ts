// Removes the queues of lanes that a group has no more. Their timers are nobody's: the events that they were about are
// another lane's now, whose reader goes by the parked rows and sets its own.

import { deleteQueues } from '@pulsebox/jobs';
import type { Queryable } from '@pulsebox/postgres';
import { LOCK_GROUP } from '../lease/lock-group.ts';
import { laneLeaseName, laneLeasePrefix } from '../lease/lane-of-group.ts';

/** Result: its lanes. $1 group. Index: consumer_group_pkey. 0 rows: it is retired, and has none. */
const LANES_OF_GROUP = `select lanes from outbox.consumer_group where name = $1`;

/**
 * Under the group's lock until the transaction ends: lanes that come back are given queues after that. Idempotent.
 *
 * @param client inside a transaction
 */
export async function deleteGoneQueues(client: Queryable, group: string): Promise<void> {
  await client.query(LOCK_GROUP, [group]);
  const { rows } = await client.query<{ lanes: number }>(LANES_OF_GROUP, [group]);
  const lanes = rows[0]?.lanes ?? 0;
  const keep = Array.from({ length: lanes }, (_, lane) => laneLeaseName({ group, lane }));
  await deleteQueues(client, laneLeasePrefix(group), { keep });
}

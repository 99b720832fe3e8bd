// Forgets a group: it holds no partition of the log any more, and what it had not delivered, it never will.

import { transaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { OutboxError } from '../outbox-error.ts';
import { deleteGoneQueues } from './gone-queues.ts';
import { LOCK_GROUP } from '../lease/lock-group.ts';
import { withAllLanes } from '../lease/take-lane.ts';

export interface RetireOptions {
  readonly pool: Pool;
  readonly group: string;
  /** Who asks, for people: `host/pid/random`. */
  readonly holder: string;
}

/** 0 rows: a lease was lost. $1 name, $2 token. Index: lease_pkey. */
const STILL_HELD = `select from pulsebox.lease where name = $1 and token = $2 for share`;

/** $1 group. Index: cursor_pkey. */
const DELETE_CURSORS = `delete from outbox.cursor where group_name = $1`;

/** $1 group. Index: parked_pkey. */
const DELETE_PARKED = `delete from outbox.parked where group_name = $1`;

/** $1 group. Index: attempt_pkey. */
const DELETE_ATTEMPTS = `delete from outbox.attempt where group_name = $1`;

/** $1 group. Index: pause_pkey. */
const DELETE_PAUSES = `delete from outbox.pause where group_name = $1`;

/** $1 group. Index: consumer_group_pkey. Its leases stay: their tokens must go on growing if the name comes back. */
const DELETE_GROUP = `delete from outbox.consumer_group where name = $1`;

/**
 * Removes the group, its cursors, and its parked events and dead letters with their timers. A group that is being read is
 * refused: its worker would register it anew, from the beginning.
 *
 * @throws OUTBOX_GROUP_UNKNOWN, OUTBOX_LANE_BUSY, OUTBOX_LEASE_LOST
 */
export async function retireGroup({ pool, group, holder }: RetireOptions): Promise<void> {
  await withAllLanes({ pool, group, holder, timeoutMs: 0 }, async (leases) =>
    transaction(pool, async (client) => {
      await client.query(LOCK_GROUP, [group]);
      for (const { name, token } of leases) {
        const { rowCount } = await client.query(STILL_HELD, [name, token]);
        if (rowCount === 1) continue;
        throw new OutboxError('OUTBOX_LEASE_LOST', `group ${group}: a reader took ${name} over`, {
          hint: 'nothing was changed; stop the worker that reads the group, and try again',
        });
      }
      await client.query(DELETE_CURSORS, [group]);
      await client.query(DELETE_PARKED, [group]);
      await client.query(DELETE_ATTEMPTS, [group]);
      await client.query(DELETE_PAUSES, [group]);
      await client.query(DELETE_GROUP, [group]);
      // The timers of its parked events, of all the lanes that it ever had.
      await deleteGoneQueues(client, group);
    }),
  );
}

// Stores a page, so that one message that the database cannot hold does not keep all others out.

import type { PoolClient } from 'pg';
import { storeMessages } from './message-store.ts';
import type { MessageChanges, StoredCounts } from './message-store.ts';
import { fenced } from './sync-slice.ts';
import type { SyncSlice } from './sync-slice.ts';
import { isValueFault } from './value-fault.ts';

/**
 * Messages, events and progress in one transaction. When the database refuses a value in it, each of the messages gets
 * an event of its own instead: those that are well are stored by it, the one that is not is parked.
 *
 * @param moveProgress writes how far the sync has come, in the same transaction
 */
export async function storePage(
  slice: SyncSlice,
  changes: MessageChanges,
  moveProgress: (client: PoolClient) => Promise<void>,
): Promise<void> {
  const { row, metrics, log } = slice;
  const store = (toStore: MessageChanges): Promise<StoredCounts> =>
    fenced(slice, async (client) => {
      const counts = await storeMessages(client, row, toStore);
      await moveProgress(client);
      return counts;
    });
  let counts: StoredCounts;
  try {
    counts = await store(changes);
  } catch (error) {
    if (!isValueFault(error) || changes.upserted.length === 0) throw error;
    log.warn(
      // Nothing else of the error: PostgreSQL quotes the value that it stumbles over, which is somebody's mail.
      { connection: row.connectionId, messages: changes.upserted.length, sqlState: error.code },
      'the database refused a message of a page; its messages are stored one by one',
    );
    const bad = changes.upserted.map(({ gmailId }) => ({ gmailId, reason: 'refused by the database' }));
    counts = await store({ ...changes, upserted: [], bad: [...changes.bad, ...bad] });
  }
  metrics?.messages.inc({ operation: 'stored' }, counts.stored);
  metrics?.messages.inc({ operation: 'deleted' }, counts.deleted);
  metrics?.messages.inc({ operation: 'notified' }, counts.notified);
  metrics?.messages.inc({ operation: 'set_aside' }, counts.parked);
  for (const { gmailId, reason } of changes.bad)
    log.warn(
      { connection: row.connectionId, message: gmailId, reason },
      'set a message aside, to be tried by itself',
    );
}

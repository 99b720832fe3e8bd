// What a sync works with, and for how long before it lets others have their turn.

import type { Logger } from '@pulsebox/loop';
import { emit } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import type { CallContext, GmailMailbox } from './gmail-client.ts';
import type { GmailMetrics } from './gmail-metrics.ts';
import { mailTransaction } from './mail-database.ts';
import { mailChanged } from './mail-events.ts';
import { assertHeld } from './mailbox-lease.ts';
import type { MailboxLease } from './mailbox-lease.ts';
import type { MailboxRow } from './mailbox-row.ts';

export interface SyncSlice extends CallContext {
  readonly pool: Pool;
  /** For statements by themselves. */
  readonly db: Queryable;
  readonly row: MailboxRow;
  readonly mailbox: GmailMailbox;
  readonly lease: MailboxLease;
  readonly log: Logger;
  readonly metrics: GmailMetrics | undefined;
  /** Whether it is time to stop after the present page, and to go on in another event. */
  readonly isOver: () => boolean;
}

/** `continued`: there is more, and an event says so. */
export type SliceOutcome = 'done' | 'continued';

/** Runs `work` in a transaction that commits only while the mailbox is held. @throws GMAIL_SYNC_FENCED */
export async function fenced<T>(
  { pool, lease, progress }: Pick<SyncSlice, 'pool' | 'lease' | 'progress'>,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  lease.signal.throwIfAborted();
  return await mailTransaction(
    pool,
    async (client) => {
      await assertHeld(client, lease);
      return await work(client);
    },
    progress,
  );
}

/** Result: the number of this continuation. $1 connection. Index: the key. */
const COUNT_CONTINUATION = `
  update app.mail_connections set continuation = continuation + 1
  where connection_id = $1 returning continuation::text`;

/**
 * Emits the event by which the sync goes on later, behind what others have asked for meanwhile. Only the latest one
 * counts: a batch that is delivered twice does not make two syncs that run for ever side by side.
 */
export async function emitContinuation(client: PoolClient, connectionId: string): Promise<void> {
  const { rows } = await client.query<{ continuation: string }>(COUNT_CONTINUATION, [connectionId]);
  const continuation = BigInt(rows[0]?.continuation ?? 0);
  await emit(client, mailChanged({ connectionId, continuation }));
}

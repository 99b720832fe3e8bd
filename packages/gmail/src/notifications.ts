// What Gmail tells through Pub/Sub, `{ emailAddress, historyId }`, becomes one event per mailbox that has changed.

import { emitAll } from '@pulsebox/outbox';
import type { PoolClient } from 'pg';
import { mailChanged } from './mail-events.ts';

export interface MailNotification {
  readonly emailAddress: string;
  readonly historyId: bigint;
}

export interface RecordedNotifications {
  /** How many `mail.changed` events were emitted: one per connection that had not been told of as much. */
  readonly changed: number;
  /** Addresses of the notifications that no active connection has, in lower case. */
  readonly unmatched: readonly string[];
}

/**
 * Locks the connections of these addresses, in the order of their ids. $1 addresses in lower case.
 * Index: mail_connection_email. 0 rows: nobody has connected such a mailbox.
 */
const LOCK_CONNECTIONS = `
  select connection_id, lower(email) as email
  from app.mail_connections
  where lower(email) = any($1::text[]) and state = 'active'
  order by connection_id
  for no key update`;

/**
 * Result: the connections that did not know of as much. $1 connections, $2 the id told for each. Index: the key.
 * A connection that was synced past the id, or was told of it before, is in no row.
 */
const RECORD_NOTIFIED = `
  update app.mail_connections c
  set notified_history_id = told.history_id, notified_at = now()
  from unnest($1::uuid[], $2::numeric[]) as told(connection_id, history_id)
  where c.connection_id = told.connection_id
    and told.history_id > coalesce(c.notified_history_id, -1)
    and told.history_id > coalesce(c.history_id, -1)
  returning c.connection_id, told.history_id::text as history_id`;

/**
 * Folds a burst of notifications, in whatever order and however often they came, into one `mail.changed` event for each
 * connection that has changed. In the caller's transaction: acknowledge the notifications once it has committed.
 *
 * @throws OUTBOX_NOT_IN_TRANSACTION
 */
export async function recordNotifications(
  client: PoolClient,
  notifications: readonly MailNotification[],
): Promise<RecordedNotifications> {
  const newest = new Map<string, bigint>();
  for (const { emailAddress, historyId } of notifications) {
    const address = emailAddress.toLowerCase();
    const known = newest.get(address);
    if (known === undefined || historyId > known) newest.set(address, historyId);
  }
  if (newest.size === 0) return { changed: 0, unmatched: [] };
  const { rows: connections } = await client.query<{ connection_id: string; email: string }>(
    LOCK_CONNECTIONS,
    [[...newest.keys()]],
  );
  const { rows: changed } = await client.query<{ connection_id: string; history_id: string }>(
    RECORD_NOTIFIED,
    [
      connections.map((row) => row.connection_id),
      connections.map((row) => newest.get(row.email)?.toString()),
    ],
  );
  await emitAll(
    client,
    changed.map((row) => mailChanged({ connectionId: row.connection_id, historyId: BigInt(row.history_id) })),
  );
  const matched = new Set(connections.map((row) => row.email));
  return {
    changed: changed.length,
    unmatched: [...newest.keys()].filter((address) => !matched.has(address)),
  };
}

// A mailbox as a sync finds it in the database.

import type { Queryable } from '@pulsebox/postgres';
import { bigintOrNull } from './connections.ts';
import { allowsText } from './oauth.ts';

export interface MailboxRow {
  readonly connectionId: string;
  readonly userId: string;
  readonly notify: boolean;
  /** Whether the grant lets the text of messages be read. */
  readonly withText: boolean;
  readonly historyId: bigint | null;
  readonly continuation: bigint;
  readonly fullSync: FullSyncRow;
}

export interface FullSyncRow {
  /** Null: none is under way. */
  readonly base: bigint | null;
  readonly page: string | null;
  readonly number: number;
}

/** Result: the mailbox. $1 connection. Index: the key. 0 rows: it is gone, or not active. */
const SELECT_MAILBOX = `
  select connection_id, user_id, notify, scopes, history_id::text, continuation::text,
         full_sync_base::text, full_sync_page, full_sync_number
  from app.mail_connections where connection_id = $1 and state = 'active'`;

/** Undefined: nobody may read it any more. */
export async function readMailbox(db: Queryable, connectionId: string): Promise<MailboxRow | undefined> {
  const { rows } = await db.query<{
    connection_id: string;
    user_id: string;
    notify: boolean;
    scopes: string[];
    history_id: string | null;
    continuation: string;
    full_sync_base: string | null;
    full_sync_page: string | null;
    full_sync_number: number;
  }>(SELECT_MAILBOX, [connectionId]);
  const [row] = rows;
  if (row === undefined) return undefined;
  return {
    connectionId: row.connection_id,
    userId: row.user_id,
    notify: row.notify,
    withText: allowsText(row.scopes),
    historyId: bigintOrNull(row.history_id),
    continuation: BigInt(row.continuation),
    fullSync: {
      base: bigintOrNull(row.full_sync_base),
      page: row.full_sync_page,
      number: row.full_sync_number,
    },
  };
}

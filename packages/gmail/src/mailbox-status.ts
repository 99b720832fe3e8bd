// How each mailbox is, for people.

import type { Queryable } from '@pulsebox/postgres';
import type { MailConnectionState } from './connections.ts';

export interface MailboxStatus {
  readonly connectionId: string;
  readonly email: string;
  readonly user: string;
  readonly organisation: string;
  readonly state: MailConnectionState;
  /** Why it is not active, for a person. */
  readonly reason: string | null;
  readonly notify: boolean;
  /** Google's number of the last change that was read, as text: it has up to 20 digits. */
  readonly historyId: string | null;
  readonly notifiedAt: Date | null;
  readonly lastSyncedAt: Date | null;
  readonly lastFullSyncAt: Date | null;
  /** Null: none is under way. */
  readonly fullSync: { readonly counted: number; readonly total: number | null } | null;
  readonly watchExpiresAt: Date | null;
  readonly watchError: string | null;
  readonly lastError: string | null;
  readonly lastErrorAt: Date | null;
  /** The id of the key that its grant is encrypted under. */
  readonly keyId: string;
}

/** Result: every mailbox, by address. Reads the table. 0 rows: none is connected. */
const SELECT_STATUS = `
  select connection_id, email, user_id, org_id, state, state_reason, notify, history_id::text, notified_at,
         last_synced_at, last_full_sync_at, full_sync_base is not null as full_sync,
         full_sync_counted::float8 as counted, full_sync_total::float8 as total,
         watch_expires_at, watch_error, last_error, last_error_at, split_part(refresh_token, '.', 2) as key_id
  from app.mail_connections order by lower(email), user_id, connection_id`;

export async function mailboxStatus(db: Queryable): Promise<MailboxStatus[]> {
  const { rows } = await db.query<{
    connection_id: string;
    email: string;
    user_id: string;
    org_id: string;
    state: MailConnectionState;
    state_reason: string | null;
    notify: boolean;
    history_id: string | null;
    notified_at: Date | null;
    last_synced_at: Date | null;
    last_full_sync_at: Date | null;
    full_sync: boolean;
    counted: number;
    total: number | null;
    watch_expires_at: Date | null;
    watch_error: string | null;
    last_error: string | null;
    last_error_at: Date | null;
    key_id: string;
  }>(SELECT_STATUS);
  return rows.map((row) => ({
    connectionId: row.connection_id,
    email: row.email,
    user: row.user_id,
    organisation: row.org_id,
    state: row.state,
    reason: row.state_reason,
    notify: row.notify,
    historyId: row.history_id,
    notifiedAt: row.notified_at,
    lastSyncedAt: row.last_synced_at,
    lastFullSyncAt: row.last_full_sync_at,
    fullSync: row.full_sync ? { counted: row.counted, total: row.total } : null,
    watchExpiresAt: row.watch_expires_at,
    watchError: row.watch_error,
    lastError: row.last_error,
    lastErrorAt: row.last_error_at,
    keyId: row.key_id,
  }));
}

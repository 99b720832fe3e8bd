// Mailboxes that are connected, as other parts ask for them.

import type { Queryable } from '@pulsebox/postgres';

/** `revoked`: Google takes the grant no longer. `disconnected`: switched off by the application. */
export const mailConnectionStates = ['active', 'revoked', 'disconnected'] as const;
export type MailConnectionState = (typeof mailConnectionStates)[number];

export interface MatchedConnection {
  readonly connectionId: string;
  readonly userId: string;
  readonly orgId: string;
  /** As Google wrote it when the mailbox was connected. */
  readonly email: string;
  /** What its messages are stored up to; null: it was never read in full. */
  readonly historyId: bigint | null;
  /** The newest id that a notification told of; null: none did. */
  readonly notifiedHistoryId: bigint | null;
}

/**
 * Result: active connections of these addresses, by id. $1 addresses in lower case. Index: mail_connection_email.
 * 0 rows: nobody has connected such a mailbox, or Google takes its grant no longer.
 */
export const MATCH_CONNECTIONS = `
  select connection_id, user_id, org_id, email, history_id::text, notified_history_id::text
  from app.mail_connections
  where lower(email) = any($1::text[]) and state = 'active'
  order by connection_id`;

/** Active connections whose address is one of these, compared without case: a mailbox may have several. */
export async function matchConnections(
  db: Queryable,
  addresses: string | readonly string[],
): Promise<MatchedConnection[]> {
  const wanted = [addresses].flat().map((address) => address.toLowerCase());
  const { rows } = await db.query<{
    connection_id: string;
    user_id: string;
    org_id: string;
    email: string;
    history_id: string | null;
    notified_history_id: string | null;
  }>(MATCH_CONNECTIONS, [wanted]);
  return rows.map((row) => ({
    connectionId: row.connection_id,
    userId: row.user_id,
    orgId: row.org_id,
    email: row.email,
    historyId: bigintOrNull(row.history_id),
    notifiedHistoryId: bigintOrNull(row.notified_history_id),
  }));
}

export function bigintOrNull(text: string | null): bigint | null {
  return text === null ? null : BigInt(text);
}

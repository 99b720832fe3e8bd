// Why the last sync of a mailbox failed, where its operator looks.

import type { Queryable } from '@pulsebox/postgres';

/** $1 connection, $2 why. Index: the key. 0 rows: the mailbox is gone. */
const RECORD_FAULT = `
  update app.mail_connections set last_error = $2, last_error_at = now() where connection_id = $1`;

/** Messages of our errors carry no secrets. */
export async function recordFault(db: Queryable, connectionId: string, reason: string): Promise<void> {
  await db.query(RECORD_FAULT, [connectionId, reason]);
}

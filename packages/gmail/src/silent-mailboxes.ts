// Mailboxes that nothing was heard of for long are looked at anyway: Gmail tells of one change a second and drops the
// rest, and a notification may be late or lost.

import { emitAll } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { mailTransaction } from './mail-database.ts';
import { mailChanged } from './mail-events.ts';

/**
 * Result: mailboxes that were neither synced nor asked for since. $1 milliseconds, $2 the most. Reads the table.
 * A mailbox that another process asks for at this moment is passed over.
 */
const ASK_SILENT = `
  with silent as (
    select connection_id from app.mail_connections
    where state = 'active'
      and greatest(last_synced_at, fallback_at, created_at) < now() - $1 * interval '1 millisecond'
    order by greatest(last_synced_at, fallback_at, created_at) limit $2
    for no key update skip locked
  )
  update app.mail_connections c set fallback_at = now()
  from silent where c.connection_id = silent.connection_id
  returning c.connection_id`;

const PAGE = 1_000;

/** Emits `mail.changed` for each, at most once in `silentMs`. Returns how many. @throws the signal's reason */
export async function askSilentMailboxes(
  pool: Pool,
  { silentMs, signal }: { readonly silentMs: number; readonly signal: AbortSignal },
): Promise<number> {
  let asked = 0;
  for (;;) {
    signal.throwIfAborted();
    const page = await mailTransaction(pool, async (client) => {
      const { rows } = await client.query<{ connection_id: string }>(ASK_SILENT, [silentMs, PAGE]);
      await emitAll(
        client,
        rows.map((row) => mailChanged({ connectionId: row.connection_id })),
      );
      return rows.length;
    });
    asked += page;
    if (page < PAGE) return asked;
  }
}

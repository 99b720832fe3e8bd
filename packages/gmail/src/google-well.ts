// Tells a mailbox that Google breaks over from a Google that is broken: another mailbox is asked.

import type { Queryable } from '@pulsebox/postgres';
import { gmailMailbox } from './gmail-client.ts';
import type { CallContext, GmailApi } from './gmail-client.ts';
import { isGmailError } from './gmail-error.ts';

/** Result: some mailboxes that were well lately. $1 those that are not asked. Reads the table: only when all else fails. */
const SELECT_OTHERS = `
  select connection_id from app.mail_connections
  where state = 'active' and last_synced_at is not null and connection_id <> all($1::uuid[])
  order by last_synced_at desc limit 3`;

/** False also when there is no other mailbox to ask. */
export async function isGoogleWell(
  { db, api, except }: { readonly db: Queryable; readonly api: GmailApi; readonly except: readonly string[] },
  context: CallContext,
): Promise<boolean> {
  const { rows } = await db.query<{ connection_id: string }>(SELECT_OTHERS, [except]);
  for (const { connection_id: connectionId } of rows) {
    try {
      await gmailMailbox({ ...api, tries: 1 }, connectionId).profile(context);
      return true;
    } catch (error) {
      if (!isGmailError(error)) throw error;
      // Nobody answers: asking on would take as long again each time.
      if (error.code === 'GMAIL_AWAY' && error.status === undefined) return false;
    }
  }
  return false;
}

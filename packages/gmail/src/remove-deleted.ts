// Removes the rows of messages that went from their mailbox long ago.
//
// Nothing needs them. Search takes an id without a row for one that is deleted, so that a removal that is delivered late, or
// a second time, is carried out all the same. A history that tells again of the message has it fetched, and Google says that
// it is gone; a full sync meets what is there. A message that does come back gets a new row, and a new id with it: nobody
// is told of it as new, since it is older than a day.

import type { Pool } from 'pg';
import { mailTransaction } from './mail-database.ts';

/**
 * $1 milliseconds since they went, $2 the most. Index: mail_message_deleted. 0 rows: there are no more.
 * One that a sync writes at this moment is passed over: it may be back.
 */
export const REMOVE_DELETED = `
  delete from app.mail_messages
  where mail_id = any(array(
    select mail_id from app.mail_messages
    where deleted_at < now() - $1 * interval '1 millisecond'
    order by deleted_at limit $2
    for update skip locked))`;

/** One transaction's worth: a few milliseconds, with the text of the messages. */
const PAGE = 500;

export interface RemoveDeletedOptions {
  /** How long they are kept, in milliseconds. */
  readonly keepMs: number;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

/** Returns how many. @throws the signal's reason; what the database throws */
export async function removeDeletedMail(pool: Pool, options: RemoveDeletedOptions): Promise<number> {
  const { keepMs, signal, progress } = options;
  let removed = 0;
  for (;;) {
    signal.throwIfAborted();
    const page = await mailTransaction(pool, async (client) => {
      const { rowCount } = await client.query(REMOVE_DELETED, [keepMs, PAGE]);
      return rowCount ?? 0;
    });
    progress();
    removed += page;
    if (page < PAGE) return removed;
  }
}

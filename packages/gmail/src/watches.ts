// Watches: Gmail tells of changes for seven days after it was asked to, and then stops without a word.

import type { Logger } from '@pulsebox/loop';
import { emit } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Watch } from './gmail-answers.ts';
import { gmailMailbox } from './gmail-client.ts';
import type { CallContext } from './gmail-client.ts';
import { isGmailError } from './gmail-error.ts';
import { markRevoked } from './grants.ts';
import type { Mail } from './mail.ts';
import { mailTransaction } from './mail-database.ts';
import { mailChanged } from './mail-events.ts';

export interface RenewWatchesOptions extends CallContext {
  /** `projects/PROJECT/topics/TOPIC`: where Gmail publishes. */
  readonly topic: string;
  /** Watches that expire within this are renewed, in milliseconds. */
  readonly renewBufferMs: number;
  readonly log: Logger;
  /** How many mailboxes at once. Default 5. */
  readonly concurrency?: number;
}

export interface RenewWatchesReport {
  readonly renewed: number;
  /** Tried again the next time. */
  readonly failed: number;
  /** Left alone from now on. */
  readonly revoked: number;
}

/**
 * Result: active mailboxes whose watch is missing, on another topic, or expires soon. $1 the id that they come after,
 * $2 topic, $3 buffer in milliseconds, $4 page size. Index: the key; it reads all of the table once.
 */
const SELECT_DUE = `
  select connection_id from app.mail_connections
  where connection_id > $1 and state = 'active'
    and (watch_expires_at is null or watch_topic is distinct from $2
         or watch_expires_at < now() + $3 * interval '1 millisecond')
  order by connection_id limit $4`;

/**
 * Result: whether messages of the mailbox are behind what Gmail says it is at. $1 connection, $2 topic, $3 when it
 * expires, $4 history id of the answer. Index: the key. 0 rows: it is not active any more.
 */
const STORE_WATCH = `
  update app.mail_connections
  set watch_topic = $2, watch_expires_at = $3, watch_error = null, updated_at = now()
  where connection_id = $1 and state = 'active'
  returning history_id is null or history_id < $4 as behind`;

/** $1 connection, $2 why. Index: the key. */
const STORE_WATCH_ERROR = `
  update app.mail_connections set watch_error = $2, updated_at = now() where connection_id = $1`;

const BEFORE_ALL = '00000000-0000-0000-0000-000000000000';
const PAGE = 500;

/**
 * Registers watches that are missing and renews those that expire soon. Whatever fails for one mailbox is kept with it,
 * and the others go on. The answer also says where the mailbox is at: one that is behind is synced, so that nothing is
 * missed that happened while it was not watched.
 *
 * @throws the signal's reason; what the database throws
 */
export async function renewWatches(mail: Mail, options: RenewWatchesOptions): Promise<RenewWatchesReport> {
  const { topic, renewBufferMs, concurrency = 5, signal } = options;
  const report = { renewed: 0, failed: 0, revoked: 0 };
  let after: string | undefined = BEFORE_ALL;
  while (after !== undefined) {
    signal.throwIfAborted();
    const { rows }: { rows: { connection_id: string }[] } = await mail.pool.query<{ connection_id: string }>(
      SELECT_DUE,
      [after, topic, renewBufferMs, PAGE],
    );
    const left = rows.values();
    async function renewSome(): Promise<void> {
      for (const { connection_id: connectionId } of left)
        report[await renewOne(mail, connectionId, options)] += 1;
    }
    const workers = Array.from({ length: Math.min(concurrency, rows.length) }, renewSome);
    await Promise.allSettled(workers);
    await Promise.all(workers);
    after = rows.at(-1)?.connection_id;
  }
  return report;
}

async function renewOne(
  mail: Mail,
  connectionId: string,
  { topic, log, signal, progress }: RenewWatchesOptions,
): Promise<keyof RenewWatchesReport> {
  const { pool, api, metrics } = mail;
  signal.throwIfAborted();
  try {
    const watch = await gmailMailbox(api, connectionId).watch(topic, { signal, progress });
    await storeWatch(pool, connectionId, topic, watch);
    metrics?.watches.inc({ outcome: 'renewed' });
    return 'renewed';
  } catch (error) {
    signal.throwIfAborted();
    if (!isGmailError(error)) throw error;
    await pool.query(STORE_WATCH_ERROR, [connectionId, error.message]);
    const revoked = error.code === 'GMAIL_GRANT_REVOKED';
    if (revoked) await markRevoked(pool, connectionId, error.message);
    log.warn(
      { connection: connectionId, code: error.code, reason: error.message },
      revoked ? 'a mailbox can be read no longer' : 'the watch of a mailbox could not be renewed',
    );
    metrics?.watches.inc({ outcome: revoked ? 'revoked' : 'failed' });
    return revoked ? 'revoked' : 'failed';
  } finally {
    progress();
  }
}

async function storeWatch(
  pool: Pool,
  connectionId: string,
  topic: string,
  { expiresAt, historyId }: Watch,
): Promise<void> {
  await mailTransaction(pool, async (client) => {
    const { rows } = await client.query<{ behind: boolean }>(STORE_WATCH, [
      connectionId,
      topic,
      expiresAt,
      historyId.toString(),
    ]);
    if (rows[0]?.behind === true) await emit(client, mailChanged({ connectionId, historyId }));
  });
}

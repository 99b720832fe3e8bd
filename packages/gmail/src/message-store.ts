// Writes what a page of a sync brought, with the events that tell of it, in the transaction that moves the progress.

import { emitAll } from '@pulsebox/outbox';
import type { NewEvent } from '@pulsebox/outbox';
import type { PoolClient } from 'pg';
import type { BadMessage } from './fetch-messages.ts';
import { mailMessage } from './mail-events.ts';
import type { Message } from './message.ts';
import { isWorthTelling, newMailNotification } from './new-mail.ts';

export interface MessageChanges {
  readonly upserted: readonly Message[];
  /** Labels changed, and nothing else. */
  readonly relabelled: ReadonlyMap<string, readonly string[]>;
  readonly deleted: readonly string[];
  /** Each gets an event of its own, under which it is fetched, fails and is parked by itself. */
  readonly bad: readonly BadMessage[];
  /** Messages that came just now: their user is told of them. */
  readonly arrived: ReadonlySet<string>;
}

export interface StoringMailbox {
  readonly connectionId: string;
  readonly userId: string;
  readonly notify: boolean;
  readonly fullSync: { readonly number: number };
}

export interface StoredCounts {
  readonly stored: number;
  readonly deleted: number;
  readonly notified: number;
  readonly parked: number;
}

export const NO_CHANGES: MessageChanges = {
  upserted: [],
  relabelled: new Map(),
  deleted: [],
  bad: [],
  arrived: new Set(),
};

/**
 * Result: each message with its id, whether anything about it is new, and whether its user was told of it before.
 * $1 connection, $2 messages as JSON, $3 number of the full sync. Index: mail_messages_connection_id_gmail_id_key.
 * The statement's own reading sees the rows as they were before it.
 */
export const UPSERT_MESSAGES = `
  with given as (
    select * from jsonb_to_recordset($2::jsonb) as m(
      gmail_id text, thread_id text, labels text[], sender text, recipients text, subject text, snippet text,
      text text, sent_at timestamptz, size_bytes bigint)
  ), before as (
    select b.gmail_id, b.notified_at is not null as told,
           (b.thread_id, b.labels, b.sender, b.recipients, b.subject, b.snippet, b.text, b.deleted_at)
             is distinct from
           (g.thread_id, g.labels, g.sender, g.recipients, g.subject, g.snippet, coalesce(g.text, b.text),
             null::timestamptz) as changed
    from given g
    join app.mail_messages b on b.connection_id = $1 and b.gmail_id = g.gmail_id
  ), stored as (
    insert into app.mail_messages as m (connection_id, gmail_id, thread_id, labels, sender, recipients, subject,
                                        snippet, text, sent_at, size_bytes, seen_in)
    select $1, gmail_id, thread_id, labels, sender, recipients, subject, snippet, text, sent_at, size_bytes, $3
    from given
    on conflict (connection_id, gmail_id) do update
      set thread_id = excluded.thread_id, labels = excluded.labels, sender = excluded.sender,
          recipients = excluded.recipients, subject = excluded.subject, snippet = excluded.snippet,
          text = coalesce(excluded.text, m.text), sent_at = excluded.sent_at, size_bytes = excluded.size_bytes,
          seen_in = excluded.seen_in, deleted_at = null, updated_at = now()
    returning mail_id, gmail_id
  )
  select s.mail_id, s.gmail_id, coalesce(b.changed, true) as changed, coalesce(b.told, false) as told
  from stored s left join before b using (gmail_id)`;

/** Result: ids of those that are here. $1 connection, $2 `[{gmail_id, labels}]`. Index: as above. */
const RELABEL_MESSAGES = `
  update app.mail_messages m set labels = g.labels, updated_at = now()
  from jsonb_to_recordset($2::jsonb) as g(gmail_id text, labels text[])
  where m.connection_id = $1 and m.gmail_id = g.gmail_id
  returning m.mail_id`;

/** Result: ids of those that were here until now. $1 connection, $2 ids of Gmail. Index: as above. */
const DELETE_MESSAGES = `
  update app.mail_messages set deleted_at = now(), updated_at = now()
  where connection_id = $1 and gmail_id = any($2::text[]) and deleted_at is null
  returning mail_id`;

/** They are there, though they cannot be read at present. $1 connection, $2 ids of Gmail, $3 number. Index: as above. */
const MARK_SEEN = `
  update app.mail_messages set seen_in = $3 where connection_id = $1 and gmail_id = any($2::text[])`;

/** $1 ids. Index: mail_messages_pkey. */
const MARK_NOTIFIED = `update app.mail_messages set notified_at = now() where mail_id = any($1::uuid[])`;

/** In a transaction that holds the mailbox. Rows are locked before their events are emitted. */
export async function storeMessages(
  client: PoolClient,
  mailbox: StoringMailbox,
  changes: MessageChanges,
): Promise<StoredCounts> {
  const { connectionId, fullSync } = mailbox;
  const { upserted, relabelled, deleted, bad } = changes;
  const stored = await upsert(client, mailbox, upserted);
  const changed = stored.filter((row) => row.changed).map((row) => row.mail_id);
  if (relabelled.size > 0) {
    const given = [...relabelled].map(([gmail_id, labels]) => ({ gmail_id, labels }));
    changed.push(...(await ids(client, RELABEL_MESSAGES, [connectionId, JSON.stringify(given)])));
  }
  const gone = deleted.length === 0 ? [] : await ids(client, DELETE_MESSAGES, [connectionId, deleted]);
  const badIds = bad.map(({ gmailId }) => gmailId);
  if (bad.length > 0) await client.query(MARK_SEEN, [connectionId, badIds, fullSync.number]);
  const told = newMail(mailbox, changes, stored);
  if (told.length > 0) await client.query(MARK_NOTIFIED, [told.map(({ mailId }) => mailId)]);
  await emitAll(client, [
    ...changed.map((mailId) => itemEvent('item.upserted', mailId)),
    ...gone.map((mailId) => itemEvent('item.archived', mailId)),
    ...told.map(({ mailId, message }) => newMailNotification(mailbox, mailId, message)),
    ...badIds.map((gmailId) => mailMessage({ connectionId, gmailId })),
  ]);
  return { stored: changed.length, deleted: gone.length, notified: told.length, parked: bad.length };
}

export function itemEvent(topic: 'item.upserted' | 'item.archived', mailId: string): NewEvent {
  return { topic, key: `mail:${mailId}`, payload: { mail_id: mailId } };
}

interface StoredRow {
  readonly mail_id: string;
  readonly gmail_id: string;
  readonly changed: boolean;
  readonly told: boolean;
}

async function upsert(
  client: PoolClient,
  { connectionId, fullSync }: StoringMailbox,
  messages: readonly Message[],
): Promise<StoredRow[]> {
  if (messages.length === 0) return [];
  const given = messages.map((message) => ({
    gmail_id: message.gmailId,
    thread_id: message.threadId,
    labels: message.labels,
    sender: message.sender,
    recipients: message.recipients,
    subject: message.subject,
    snippet: message.snippet,
    text: message.text,
    sent_at: message.sentAt,
    size_bytes: message.sizeBytes,
  }));
  const { rows } = await client.query<StoredRow>(UPSERT_MESSAGES, [
    connectionId,
    JSON.stringify(given),
    fullSync.number,
  ]);
  return rows;
}

function newMail(
  { notify }: StoringMailbox,
  { upserted, arrived }: MessageChanges,
  stored: readonly StoredRow[],
): { readonly mailId: string; readonly message: Message }[] {
  if (!notify || arrived.size === 0) return [];
  const rows = new Map(stored.map((row) => [row.gmail_id, row]));
  return upserted.flatMap((message) => {
    const row = rows.get(message.gmailId);
    if (row === undefined || row.told || !arrived.has(message.gmailId) || !isWorthTelling(message)) return [];
    return [{ mailId: row.mail_id, message }];
  });
}

async function ids(client: PoolClient, sql: string, values: unknown[]): Promise<string[]> {
  const { rows } = await client.query<{ mail_id: string }>(sql, values);
  return rows.map((row) => row.mail_id);
}

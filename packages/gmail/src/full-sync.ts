// Reads a whole mailbox: when it is new, and when Google keeps no history from the stored id on any more.
//
// The history id is taken before listing begins, so that what changes meanwhile is read from the history afterwards. A
// page of the list is stored together with the token of the next one: memory holds one page, whatever the mailbox has,
// and a sync that was cut off goes on with the page after the last that was stored.

import { emitAll } from '@pulsebox/outbox';
import type { PoolClient } from 'pg';
import { fetchMessages } from './fetch-messages.ts';
import { pagesFault } from './google-fault.ts';
import { itemEvent, NO_CHANGES } from './message-store.ts';
import { storePage } from './store-page.ts';
import { emitContinuation, fenced } from './sync-slice.ts';
import type { SliceOutcome, SyncSlice } from './sync-slice.ts';

export interface FullSync {
  readonly base: bigint;
  readonly number: number;
  readonly page: string | null;
}

/** Result: the number of this full sync. $1 connection, $2 base, $3 how many messages Google reckons. Index: the key. */
const BEGIN_FULL_SYNC = `
  update app.mail_connections
  set full_sync_base = $2, full_sync_total = $3, full_sync_page = null, full_sync_counted = 0,
      full_sync_number = full_sync_number + 1, updated_at = now()
  where connection_id = $1
  returning full_sync_number as number`;

/**
 * Result: whether far more messages were listed than Google reckons there are; null where it did not say.
 * $1 connection, $2 the page that comes next, $3 how many messages this one had. Index: the key.
 */
const STORE_PAGE = `
  update app.mail_connections
  set full_sync_page = $2, full_sync_counted = full_sync_counted + $3,
      last_error = null, last_error_at = null, updated_at = now()
  where connection_id = $1
  returning full_sync_counted > 2 * full_sync_total + 10000 as endless`;

/** Listing begins anew. $1 connection. Index: the key. */
const FORGET_PAGE = `
  update app.mail_connections set full_sync_page = null, full_sync_counted = 0 where connection_id = $1`;

/** Result: those of the page that this full sync has met already. $1 connection, $2 ids, $3 number. */
const SELECT_SEEN = `
  select gmail_id from app.mail_messages
  where connection_id = $1 and gmail_id = any($2::text[]) and seen_in = $3 and deleted_at is null`;

/**
 * Marks a page of the messages that were not met as deleted. Result: their ids, and the last of Gmail's among them.
 * $1 connection, $2 the id of Gmail that they come after, $3 number of the full sync, $4 page size.
 * Index: that of connection and Gmail's id. 0 rows: there are no more.
 */
const DELETE_UNSEEN = `
  with page as materialized (
    select mail_id, gmail_id from app.mail_messages
    where connection_id = $1 and gmail_id > $2 and deleted_at is null and seen_in < $3
    order by gmail_id limit $4
  ), gone as (
    update app.mail_messages m set deleted_at = now(), updated_at = now()
    from page where m.mail_id = page.mail_id
  )
  select mail_id, (select max(gmail_id) from page) as last from page`;

/** $1 connection. Index: the key. */
const END_FULL_SYNC = `
  update app.mail_connections
  set history_id = full_sync_base, full_sync_base = null, full_sync_page = null, full_sync_total = null,
      last_full_sync_at = now(), updated_at = now()
  where connection_id = $1`;

/** Messages that one transaction stores and memory holds. */
const PAGE = 100;
const DELETE_PAGE = 1_000;
/** Without a single message, one after the other. */
const MOST_EMPTY_PAGES = 20;

export async function beginFullSync(slice: SyncSlice): Promise<FullSync> {
  const { mailbox, row } = slice;
  const profile = await mailbox.profile(slice);
  const number = await fenced(slice, async (client) => {
    const { rows } = await client.query<{ number: number }>(BEGIN_FULL_SYNC, [
      row.connectionId,
      profile.historyId.toString(),
      profile.messagesTotal,
    ]);
    return rows[0]?.number ?? 0;
  });
  return { base: profile.historyId, number, page: null };
}

/** `done`: the mailbox is read, and its history goes on from the base. @throws GmailError; the signal's reason */
export async function syncFully(slice: SyncSlice, sync: FullSync): Promise<SliceOutcome> {
  const { mailbox, row } = slice;
  const inThisSync: SyncSlice = { ...slice, row: { ...row, fullSync: { ...sync } } };
  let page = sync.page ?? undefined;
  let isAnew = false;
  let emptyPages = 0;
  for (;;) {
    slice.lease.signal.throwIfAborted();
    const listed = await mailbox.messages({ page, size: PAGE }, slice);
    if (listed === 'invalid-page') {
      // Page tokens do not live for ever. What was met before is passed over this time. But one that is just made lives.
      if (isAnew) throw pagesFault('it refuses a page that it has just told of');
      isAnew = true;
      await fenced(slice, (client) => client.query(FORGET_PAGE, [row.connectionId]));
      page = undefined;
      continue;
    }
    if (page !== undefined && listed.nextPage === page) throw pagesFault('a page is followed by itself');
    emptyPages = listed.gmailIds.length === 0 ? emptyPages + 1 : 0;
    if (emptyPages > MOST_EMPTY_PAGES) throw pagesFault('page after page is empty');
    const isLast = listed.nextPage === undefined;
    const hasToYield = !isLast && emptyPages === 0 && slice.isOver();
    const unseen = await withoutSeen(slice, sync, listed.gmailIds);
    const { found, bad } = await fetchMessages(slice, unseen);
    await storePage(inThisSync, { ...NO_CHANGES, upserted: found, bad }, async (client) => {
      if (isLast) return;
      const { rows } = await client.query<{ endless: boolean | null }>(STORE_PAGE, [
        row.connectionId,
        listed.nextPage,
        listed.gmailIds.length,
      ]);
      if (rows[0]?.endless === true) throw pagesFault('more than twice as many messages as there are');
      if (hasToYield) await emitContinuation(client, row.connectionId);
    });
    slice.progress();
    if (hasToYield) return 'continued';
    if (isLast) break;
    page = listed.nextPage;
  }
  await deleteUnseen(slice, sync);
  await fenced(slice, (client) => client.query(END_FULL_SYNC, [row.connectionId]));
  return 'done';
}

async function withoutSeen(
  { db, row }: SyncSlice,
  { number }: FullSync,
  gmailIds: readonly string[],
): Promise<string[]> {
  const { rows } = await db.query<{ gmail_id: string }>(SELECT_SEEN, [row.connectionId, gmailIds, number]);
  const seen = new Set(rows.map((known) => known.gmail_id));
  return gmailIds.filter((gmailId) => !seen.has(gmailId));
}

async function deleteUnseen(slice: SyncSlice, { number }: FullSync): Promise<void> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const from: string = after;
    after = await fenced(slice, async (client: PoolClient) => {
      const { rows } = await client.query<{ mail_id: string; last: string }>(DELETE_UNSEEN, [
        slice.row.connectionId,
        from,
        number,
        DELETE_PAGE,
      ]);
      await emitAll(
        client,
        rows.map((row) => itemEvent('item.archived', row.mail_id)),
      );
      slice.metrics?.messages.inc({ operation: 'deleted' }, rows.length);
      return rows[0]?.last;
    });
    slice.progress();
  }
}

// Reads what has changed in a mailbox since its stored history id, page by page.

import type { PoolClient } from 'pg';
import { fetchMessages } from './fetch-messages.ts';
import type { HistoryChange } from './gmail-answers.ts';
import { pagesFault } from './google-fault.ts';
import { storePage } from './store-page.ts';
import { emitContinuation } from './sync-slice.ts';
import type { SliceOutcome, SyncSlice } from './sync-slice.ts';

/** Result: labels of messages that are here. $1 connection, $2 ids of Gmail. Index: that of both. */
const SELECT_LABELS = `
  select gmail_id, labels from app.mail_messages
  where connection_id = $1 and gmail_id = any($2::text[]) and deleted_at is null`;

/**
 * $1 connection, $2 history id, $3 whether the mailbox is read to its end. Index: the key. A trigger keeps it forward.
 * Read to its end it has no later id than Google's: whatever was told of beyond that is false, or has an event yet.
 */
const STORE_HISTORY_ID = `
  update app.mail_connections
  set history_id = $2, last_synced_at = case when $3 then now() else last_synced_at end,
      notified_history_id = case when $3 then least(notified_history_id, $2) else notified_history_id end,
      last_error = null, last_error_at = null, updated_at = now()
  where connection_id = $1`;

/** Pages that bring the sync no further, one after the other. */
const MOST_IDLE_PAGES = 20;

/**
 * Every page is stored with the id of its last record, from which Google goes on as well as from a page token, so there
 * is nothing more to remember. `gone`: Google keeps no history from there on; only a full sync helps.
 *
 * @throws GmailError; the signal's reason
 */
export async function syncHistory(slice: SyncSlice, startHistoryId: bigint): Promise<SliceOutcome | 'gone'> {
  const { mailbox, row } = slice;
  let page: string | undefined;
  let latestId = startHistoryId;
  let idlePages = 0;
  for (;;) {
    slice.lease.signal.throwIfAborted();
    const history = await mailbox.history({ startHistoryId, page }, slice);
    if (history === 'gone') return 'gone';
    if (page !== undefined && history.nextPage === page) throw pagesFault('a page is followed by itself');
    const isLast = history.nextPage === undefined;
    const reachedId = isLast ? history.historyId : (history.lastRecordId ?? latestId);
    idlePages = reachedId > latestId ? 0 : idlePages + 1;
    if (!isLast && idlePages > MOST_IDLE_PAGES) throw pagesFault('page after page is no later than the last');
    // What hands on to itself without having moved would do so for ever.
    const hasToYield = !isLast && idlePages === 0 && slice.isOver();
    if (reachedId > latestId) latestId = reachedId;
    const changes = await changesOf(slice, history.changes);
    await storePage(slice, changes, async (client: PoolClient) => {
      await client.query(STORE_HISTORY_ID, [row.connectionId, reachedId.toString(), isLast]);
      if (hasToYield) await emitContinuation(client, row.connectionId);
    });
    slice.progress();
    if (isLast) return 'done';
    if (hasToYield) return 'continued';
    page = history.nextPage;
  }
}

/** Folds what happened to each message, and fetches those of which more than labels is needed. */
async function changesOf(
  slice: SyncSlice,
  history: readonly HistoryChange[],
): Promise<Parameters<typeof storePage>[1]> {
  const { db, row } = slice;
  const touched = [...new Set(history.map(({ gmailId }) => gmailId))];
  const { rows } = await db.query<{ gmail_id: string; labels: string[] }>(SELECT_LABELS, [
    row.connectionId,
    touched,
  ]);
  const labels = new Map(rows.map((known) => [known.gmail_id, new Set(known.labels)]));
  const arrived = new Set<string>();
  const deleted = new Set<string>();
  const toFetch = new Set<string>();
  const relabelled = new Set<string>();
  for (const change of history) {
    const { gmailId } = change;
    const known = labels.get(gmailId);
    if (change.kind === 'deleted') {
      deleted.add(gmailId);
      continue;
    }
    deleted.delete(gmailId);
    if (change.kind === 'added') arrived.add(gmailId);
    if (change.kind === 'added' || known === undefined) {
      toFetch.add(gmailId);
      continue;
    }
    for (const label of change.labels) {
      if (change.kind === 'labelled') known.add(label);
      else known.delete(label);
    }
    relabelled.add(gmailId);
  }
  const wanted = [...toFetch].filter((gmailId) => !deleted.has(gmailId));
  const { found, gone, bad } = await fetchMessages(slice, wanted);
  const isFetched = new Set(wanted);
  return {
    upserted: found,
    relabelled: new Map(
      [...relabelled]
        .filter((gmailId) => !isFetched.has(gmailId) && !deleted.has(gmailId))
        .map((gmailId) => [gmailId, [...(labels.get(gmailId) ?? [])]]),
    ),
    deleted: [...deleted, ...gone],
    bad,
    arrived,
  };
}

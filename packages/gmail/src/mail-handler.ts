// The handler of the group `mail`: one sync for each mailbox that a batch tells of, some mailboxes at a time.

import type {
  Batch,
  BatchOutcome,
  EventFailure,
  Handler,
  HandlerContext,
  OutboxEvent,
} from '@pulsebox/outbox';
import { inProcessSpan, SinkError } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { gmailMailbox } from './gmail-client.ts';
import type { GmailApi } from './gmail-client.ts';
import { isGmailError } from './gmail-error.ts';
import type { GmailError } from './gmail-error.ts';
import type { GmailMetrics } from './gmail-metrics.ts';
import { fetchByItself } from './fetch-by-itself.ts';
import { isGoogleWell } from './google-well.ts';
import { markRevoked } from './grants.ts';
import { singleStatements } from './mail-database.ts';
import { withMailboxLease } from './mailbox-lease.ts';
import { readMailbox } from './mailbox-row.ts';
import { recordFault } from './record-fault.ts';
import { isNeeded, syncMailbox } from './sync-mailbox.ts';
import type { SyncSlice } from './sync-slice.ts';
import { workOf } from './work.ts';
import type { MailboxWork } from './work.ts';

export interface MailHandlerOptions {
  readonly pool: Pool;
  readonly api: GmailApi;
  /** For people who ask who holds a mailbox. */
  readonly holder: string;
  readonly metrics?: GmailMetrics | undefined;
  /** How many mailboxes are synced at the same time. Default 4. */
  readonly concurrency?: number;
  /** How long one mailbox may take of a batch before others have their turn, in milliseconds. Default 20,000. */
  readonly sliceMs?: number;
  /** How long a mailbox waits when the worker that syncs it dies, in milliseconds. Default 15,000. */
  readonly leaseTtlMs?: number;
}

/** All mailboxes of a batch together take about as long, in milliseconds, whatever there is to read. */
const BATCH_MS = 120_000;
const SHORTEST_SLICE_MS = 1_000;

type Ended = {
  readonly work: MailboxWork;
  readonly failures: readonly EventFailure[];
  readonly away?: GmailError;
};

/**
 * Handles `mail.changed` and `mail.message`; events of other topics are none of ours. A batch is folded: many events of a
 * mailbox make one sync. What is wrong with one mailbox is reported for its events and keeps no other one waiting; what
 * is wrong with Google, or the way there, pauses the group. Run it with `order: 'none'`: a sync reads what is there.
 */
export function mailHandler(options: MailHandlerOptions): Handler {
  const { concurrency = 4, sliceMs = 20_000 } = options;

  return async (batch: Batch, context: HandlerContext): Promise<BatchOutcome> => {
    const { mailboxes, failures } = workOf(batch.events);
    const share = (BATCH_MS * concurrency) / Math.max(1, mailboxes.length);
    const ownMs = Math.min(sliceMs, Math.max(SHORTEST_SLICE_MS, share));
    const left = mailboxes.values();
    const ended: Ended[] = [];
    async function takeSome(): Promise<void> {
      for (const work of left) {
        context.signal.throwIfAborted();
        // In the trace of the events that tell of it, whatever other mailboxes the batch tells of.
        const { group } = batch;
        ended.push(
          await inProcessSpan({ group, events: work.events }, () => workOn(work, ownMs, options, context)),
        );
        context.progress();
      }
    }
    const workers = Array.from({ length: Math.min(concurrency, mailboxes.length) }, takeSome);
    await Promise.allSettled(workers);
    await Promise.all(workers);
    const away = await whoIsAway(ended, options, context);
    return { failed: [...failures, ...ended.flatMap((one) => one.failures), ...away] };
  };
}

async function workOn(
  work: MailboxWork,
  sliceMs: number,
  options: MailHandlerOptions,
  { signal, log, progress }: HandlerContext,
): Promise<Ended> {
  const { pool, api, holder, metrics, leaseTtlMs = 15_000 } = options;
  const { connectionId } = work;
  const callProgress = (): void => progress();
  const db = singleStatements(pool, callProgress);
  try {
    return await withMailboxLease(
      { db, connectionId, holder, ttlMs: leaseTtlMs, signal, progress: callProgress },
      async (lease) => {
        const row = await readMailbox(db, connectionId);
        // Revoked, disconnected or gone since: nothing is read on behalf of nobody.
        if (row === undefined) return { work, failures: [] };
        const endsAt = performance.now() + sliceMs;
        const slice: SyncSlice = {
          pool,
          db,
          row,
          mailbox: gmailMailbox(api, connectionId),
          lease,
          log,
          metrics,
          signal: lease.signal,
          progress: callProgress,
          isOver: () => performance.now() >= endsAt,
        };
        const failures = await fetchByItself(slice, work.messages);
        if (work.sync !== undefined && isNeeded(row, work.sync)) await syncMailbox(slice);
        return { work, failures };
      },
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!isGmailError(error)) throw error;
    await recordFault(db, connectionId, error.message);
    if (error.code === 'GMAIL_GRANT_REVOKED') {
      await markRevoked(db, connectionId, error.message);
      log.warn({ connection: connectionId, reason: error.message }, 'a mailbox can be read no longer');
      return { work, failures: [] };
    }
    if (error.code === 'GMAIL_AWAY' || error.code === 'GMAIL_CLIENT_REFUSED')
      return { work, failures: [], away: error };
    return { work, failures: failuresOf(work.events, error) };
  }
}

/**
 * Failures of mailboxes that Google broke over while others are read, or that none are known of.
 *
 * @throws SinkError of the kind `away` when Google cannot be reached, or refuses us altogether
 */
async function whoIsAway(
  ended: readonly Ended[],
  { pool, api }: MailHandlerOptions,
  { signal, progress }: HandlerContext,
): Promise<EventFailure[]> {
  const broken = ended.filter((one) => one.away !== undefined);
  const [first] = broken;
  if (first?.away === undefined) return [];
  // When our own client is refused it is the same for every mailbox.
  const isOurs = broken.some(({ away }) => away?.code !== 'GMAIL_AWAY');
  const context = { signal, progress: () => progress() };
  const ids = broken.map(({ work }) => work.connectionId);
  const db = singleStatements(pool, context.progress);
  if (!isOurs && (await isGoogleWell({ db, api, except: ids }, context)))
    return broken.flatMap(({ work, away }) => (away === undefined ? [] : failuresOf(work.events, away)));
  const { code, message, hint, retryAfterMs } = first.away;
  throw new SinkError('away', code, message, { hint, retryAfterMs, cause: first.away });
}

function failuresOf(events: readonly OutboxEvent[], error: GmailError): EventFailure[] {
  return events.map(({ position }) => ({
    position,
    reason: `${error.message} (${error.code})`,
    retryable: true,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  }));
}

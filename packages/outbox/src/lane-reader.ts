// The reader of one lane: takes its lease, hands over batch after batch, stores, and reads ahead meanwhile.

import type { Logger, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import type { Queryable } from '@pulsebox/postgres';
import type { StartFrom } from './consumer-group.ts';
import { registerGroup } from './consumer-group.ts';
import { deliver } from './deliver.ts';
import type { Delivered, DeliveryOrder } from './deliver.ts';
import type { Handler } from './handler.ts';
import { openLaneSession } from './lane-session.ts';
import type { LaneSession } from './lane-session.ts';
import { OutboxError } from './outbox-error.ts';
import type { OutboxMetrics } from './outbox-metrics.ts';
import { createPause } from './pause.ts';
import type { PauseOptions } from './pause.ts';
import type { ReadBatch } from './read-batch.ts';
import { SinkError } from './sink-error.ts';
import { announceSleep, nextRest } from './sleep.ts';
import type { LaneOfGroup } from './store-cursor.ts';
import type { Waker } from './waker.ts';

export interface LaneReaderOptions {
  /** Its queries end: one that is unanswered for as long as the lease lasts is of no use to its holder any more. */
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly handler: Handler;
  readonly holder: string;
  readonly waker: Waker;
  readonly metrics: OutboxMetrics | undefined;
  readonly batchSize: number;
  readonly startFrom: StartFrom;
  readonly pollMs: number;
  readonly idleWaitMs: number;
  readonly leaseTtlMs: number;
  readonly order: DeliveryOrder;
  readonly pause: PauseOptions;
}

export interface LaneReader {
  /**
   * One batch if the lease can be had and there is something to deliver.
   *
   * @throws OUTBOX_EVENTS_FAILED when events were refused, OUTBOX_LEASE_LOST when a batch could not be stored
   */
  turn(context: TickContext): Promise<TickResult>;
  /** Whether the sink is away. */
  check(): LoopCheck;
  /** Gives the lease back. Idempotent; a later turn asks for it again. */
  close(): Promise<void>;
}

/** Whoever asked tries every 50 ms: a reader that polls faster than that must not take the lane back first. */
const HANDED_OVER_FOR_MS = 250;

export function createLaneReader(options: LaneReaderOptions): LaneReader {
  const { db, lane, waker, batchSize, pollMs, idleWaitMs, leaseTtlMs } = options;
  const { group } = lane;
  const pause = createPause(group, options.pause, (paused) => options.metrics?.paused.set(group, paused));
  let session: LaneSession | undefined;
  let standbyFor: string | undefined;
  let lastEventAtMs = performance.now();
  let announcedUntilMs = 0;
  let leftToOthersUntilMs = 0;

  async function turn(context: TickContext): Promise<TickResult> {
    const leftToOthersMs = leftToOthersUntilMs - performance.now();
    if (leftToOthersMs > 0) return { events: 0, nextInMs: leftToOthersMs };
    // Lost while nobody looked (a frozen process, a long rest): what is in memory is another's by now.
    if (session?.lease.signal.aborted === true) await close();
    session ??= await open(context.log);
    if (session === undefined) return { events: 0, nextInMs: pollMs };
    if (session.lease.wantedBy !== null) return await handOver(context.log, session.lease.wantedBy);
    const pausedMs = pause.remainingMs();
    // No longer than an idle rest at once: the lease is looked after in between, and so is one who asks for it.
    if (pausedMs > 0) return { events: 0, nextInMs: Math.min(pausedMs, idleWaitMs) };
    const reader = session;
    try {
      const batch = await reader.current();
      // Read or not, nothing is handed to a handler without the lease: events of its keys may be further on elsewhere.
      reader.lease.signal.throwIfAborted();
      if (batch.events.length === 0) return { events: 0, nextInMs: await restAfterEmptyLook() };
      await deliverAndStore(reader, batch, context);
      lastEventAtMs = performance.now();
      return { events: batch.events.length, nextInMs: 0 };
    } catch (error) {
      reader.forget();
      if (reader.lease.signal.aborted) await close();
      if (!(error instanceof SinkError) || session === undefined) throw error;
      pause.begin(error, context.log);
      return { events: 0, nextInMs: Math.min(pause.remainingMs(), idleWaitMs) };
    }
  }

  async function open(log: Logger): Promise<LaneSession | undefined> {
    await registerGroup(db, group, options.startFrom);
    const opened = await openLaneSession(
      { db, lane, holder: options.holder, leaseTtlMs, batchSize },
      {
        onRenewalError: (error) =>
          log.warn({ err: error, group }, 'the lease could not be renewed; trying again'),
        onWanted: () => waker.wake(),
      },
    );
    if (opened.opened) {
      log.info({ group, fencing: opened.session.lease.token }, 'reading');
      standbyFor = undefined;
      options.metrics?.paused.set(group, false);
      return opened.session;
    }
    if (standbyFor !== opened.heldBy)
      log.info({ group, heldBy: opened.heldBy }, 'standing by: another worker reads');
    standbyFor = opened.heldBy;
    return undefined;
  }

  async function deliverAndStore(from: LaneSession, batch: ReadBatch, context: TickContext): Promise<void> {
    // A batch that is not full was the end of the log: what comes after it is better read afresh.
    if (batch.events.length >= batchSize) from.readAhead(batch);
    const signal = AbortSignal.any([context.signal, from.lease.signal]);
    const delivered = await deliver({
      handler: options.handler,
      batch: { ...lane, events: batch.events },
      context: {
        signal,
        fencingToken: from.lease.token,
        progress: () => context.progress(),
        log: context.log,
      },
      order: options.order,
      confirmLease: () => from.lease.renewNow(),
    });
    // It took something or refused it: it is there.
    pause.end(context.log);
    if (delivered.failed.length > 0) throw eventsFailed(group, batch, delivered);
    const outcome = await from.advance(batch);
    if (!outcome.advanced) {
      await close();
      throw new OutboxError(
        'OUTBOX_LEASE_LOST',
        `group ${group}: another worker took over before the batch was stored`,
        {
          hint: 'its events are delivered again by the worker that holds the lease now; frequent losses mean that leases are too short for this machine',
        },
      );
    }
    observeDelivery(batch);
  }

  async function restAfterEmptyLook(): Promise<number> {
    const notified = waker.state === 'listening';
    const rest = nextRest(performance.now() - lastEventAtMs, {
      notified,
      longestMs: notified ? idleWaitMs : pollMs,
    });
    const now = performance.now();
    if (!rest.asleep || announcedUntilMs > now + rest.ms) return rest.ms;
    const announcedForMs = idleWaitMs + 1_000;
    await announceSleep(db, announcedForMs);
    announcedUntilMs = now + announcedForMs - 500;
    // Look once more before sleeping: what was committed since the last look did not notify.
    return 1;
  }

  async function handOver(log: Logger, wantedBy: string): Promise<TickResult> {
    log.info({ group, wantedBy }, 'handing the lane over');
    await close();
    // Long enough for the one who asked to take it first; a wake-up in between must not cut it short.
    const leftForMs = Math.max(pollMs, HANDED_OVER_FOR_MS);
    leftToOthersUntilMs = performance.now() + leftForMs;
    return { events: 0, nextInMs: leftForMs };
  }

  function observeDelivery(batch: ReadBatch): void {
    if (options.metrics === undefined) return;
    const nowMs = batch.readAtMs + (performance.now() - batch.receivedAtMs);
    options.metrics.deliveryLag.observe(group, batch.events, nowMs);
  }

  async function close(): Promise<void> {
    const closing = session;
    session = undefined;
    pause.forget();
    options.metrics?.paused.remove(group);
    // Away or not, the lease ends by itself; nothing is stored under it any more.
    await closing?.close().catch(() => undefined);
  }

  return { turn, check: () => pause.check(), close };
}

function eventsFailed(group: string, { events }: ReadBatch, { failed }: Delivered): OutboxError {
  const [first] = failed;
  return new OutboxError(
    'OUTBOX_EVENTS_FAILED',
    `group ${group}: ${failed.length} of ${events.length} events failed, the first at position ${first?.event.position} (${first?.event.topic}): ${first?.reason}`,
    {
      hint: failed.every(({ retryable }) => retryable)
        ? 'the batch is tried again; the others of it were delivered, and are delivered again with it'
        : 'the sink will refuse the same again: mend what it is given, or nothing after this batch is delivered',
      cause: first?.error,
    },
  );
}

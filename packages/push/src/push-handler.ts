// The handler of the group `push`: from a batch of events to what became of each of them.

import type { Jobs, JobToSend } from '@pulsebox/jobs';
import { inProcessSpan, traceOf } from '@pulsebox/outbox';
import type { Batch, BatchOutcome, EventFailure, Handler, HandlerContext } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { broadcastJob, broadcastQueue } from './broadcast.ts';
import type { Deliverer } from './deliver.ts';
import type { Delivery } from './delivery.ts';
import { fanOut } from './fan-out.ts';
import type { DeliveryPage } from './fan-out.ts';
import { graceAfter } from './grace.ts';
import { runLanes } from './lanes.ts';
import { PushError } from './push-error.ts';
import { readRequest } from './push-request.ts';
import type { PushRequest } from './push-request.ts';
import type { Recorder } from './recorder.ts';
import { refusalOf } from './refused.ts';
import { retryQueue } from './retry-queue.ts';

export interface PushHandlerOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  readonly deliverer: Deliverer;
  readonly recorder: Recorder;
  /** The most deliveries in flight. Also the most that a crash can repeat. */
  readonly concurrency: number;
  readonly defaultTtlSeconds?: number | undefined;
}

/**
 * Every delivery ends by itself: taken, over, or handed to a job that tries it again. An event fails when it asks for
 * something that cannot be sent, or when a push service refuses its message as such; replayed, it goes to those
 * subscriptions again that refused it, and to no other.
 */
export function pushHandler(options: PushHandlerOptions): Handler {
  const { jobs, defaultTtlSeconds } = options;
  let queuesEnsured = false;

  return async (batch: Batch, context: HandlerContext): Promise<BatchOutcome> => {
    const { events } = batch;
    const failed: EventFailure[] = [];
    const requests: PushRequest[] = [];
    for (const event of events) {
      try {
        const request = readRequest(event, defaultTtlSeconds);
        if (request !== undefined) requests.push(request);
      } catch (error) {
        if (!(error instanceof PushError)) throw error;
        failed.push({
          position: event.position,
          reason: `${error.message}; ${error.hint}`,
          retryable: false,
        });
      }
    }
    if (requests.length === 0) return { failed };
    if (!queuesEnsured) await ensureQueues(jobs);
    queuesEnsured = true;
    const broadcasts = requests.filter(({ userId }) => userId === null);
    // A job by itself: a million subscriptions take minutes, and nobody else is to wait for them.
    await jobs.sendAll(
      broadcastQueue,
      broadcasts.map((request) => Object.assign(broadcastJob(request), traceOfRequest(batch, request))),
    );
    const users = requests.filter(({ userId }) => userId !== null);
    if (users.length > 0) failed.push(...(await deliverToUsers(options, users, { ...context, batch })));
    return { failed };
  };
}

/** In the trace of its own event, where that has one; else in the batch's. */
function traceOfRequest({ events }: Batch, { position }: PushRequest): Pick<JobToSend<object>, 'trace'> {
  const event = events.find((one) => one.position === position);
  const trace = event === undefined ? undefined : traceOf(event);
  return trace === undefined ? {} : { trace };
}

async function ensureQueues(jobs: Jobs): Promise<void> {
  for (const queue of [retryQueue, broadcastQueue]) await jobs.ensureQueue(queue);
}

async function deliverToUsers(
  { pool, deliverer, recorder, concurrency }: PushHandlerOptions,
  requests: readonly PushRequest[],
  { signal, progress, log, batch }: HandlerContext & { readonly batch: Batch },
): Promise<EventFailure[]> {
  const eventOf = new Map(batch.events.map((event) => [event.position, event]));
  const refusals = new Map<number, string[]>();
  const grace = graceAfter(signal);

  async function deliver(delivery: Delivery, nowMs: number): Promise<{ readonly over: boolean }> {
    const { recorded, kind, detail } = await deliverer.attempt(delivery, nowMs, grace.signal);
    if (recorded === undefined) return { over: true };
    await recorder.record(recorded);
    progress();
    const { position, subscriptionId } = delivery;
    if (kind === 'rejected')
      refusals.set(position, [...(refusals.get(position) ?? []), refusalOf(subscriptionId, detail)]);
    if (kind === 'forbidden' || kind === 'invalid')
      log.warn({ subscription: subscriptionId, detail }, 'a subscription cannot be sent to');
    // Whatever else of the batch was to go there would be told the same.
    return { over: kind === 'gone' };
  }

  try {
    for await (const page of fanOut(pool, requests)) {
      const readAtMs = performance.now();
      await runLanes(lanesOf(page), { concurrency, signal }, async (lane) => {
        for (const delivery of lane) {
          if (signal.aborted) return;
          const nowMs = page.nowMs + (performance.now() - readAtMs);
          const event = eventOf.get(delivery.position);
          const events = event === undefined ? batch.events : [event];
          const { over } = await inProcessSpan({ group: batch.group, events }, () =>
            deliver(delivery, nowMs),
          );
          if (over) return;
        }
      });
      signal.throwIfAborted();
    }
  } finally {
    grace.end();
  }
  return [...refusals].map(([position, details]) => ({
    position,
    reason: `${details.length} of its deliveries were refused: ${details.slice(0, 5).join('; ')}`,
    retryable: false,
  }));
}

/** A lane for each subscription, in the order of the events. */
async function* lanesOf({ deliveries }: DeliveryPage): AsyncGenerator<readonly Delivery[]> {
  const lanes = Map.groupBy(deliveries, ({ subscriptionId }) => subscriptionId);
  yield* lanes.values();
}

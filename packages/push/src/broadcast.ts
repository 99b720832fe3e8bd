// A message for everybody: one long job that streams through all subscriptions, and goes on where it was after a crash.

import { createHash } from 'node:crypto';
import { defineQueue } from '@pulsebox/jobs';
import type { JobHandler, JobOutcome, JobToSend, Queue } from '@pulsebox/jobs';
import type { Pool } from 'pg';
import type { Deliverer } from './deliver.ts';
import type { Delivery } from './delivery.ts';
import { fanOutToEverybody } from './fan-out.ts';
import { graceAfter } from './grace.ts';
import { runLanes } from './lanes.ts';
import type { AttemptOutcome } from './push-metrics.ts';
import type { PushRequest } from './push-request.ts';
import type { Recorder } from './recorder.ts';

export interface BroadcastData extends Omit<PushRequest, 'userId'> {
  readonly userId: null;
}

const FOUR_WEEKS_AND_A_DAY_SECONDS = 29 * 86_400;

export const broadcastQueue: Queue<BroadcastData> = defineQueue<BroadcastData>('push-broadcast', {
  // Each begins where the one before it ended, so none is lost by many.
  attempts: 100,
  timeoutSeconds: 86_400,
  // The id of a job that is kept is not sent again: as long as a message may live, an event makes one job.
  keepFinishedSeconds: FOUR_WEEKS_AND_A_DAY_SECONDS,
});

/** The same event makes the same job, however often its batch is delivered. */
export function broadcastJob(request: PushRequest): JobToSend<BroadcastData> {
  const hash = createHash('sha256').update(`push.broadcast ${request.position}`).digest('hex');
  const id = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`].join(
    '-',
  );
  return { id: `${id}-${hash.slice(20, 32)}`, data: { ...request, userId: null } };
}

export interface BroadcastOptions {
  readonly pool: Pool;
  readonly deliverer: Deliverer;
  readonly recorder: Recorder;
  /** The most deliveries in flight. Also the most that a crash can repeat. */
  readonly concurrency: number;
  /** How many subscriptions are in memory at a time. Default 1,000. */
  readonly page?: number | undefined;
}

/** Ends when the last subscription has been through; failed, for people to see, when a service refused the message. */
export function broadcastHandler(options: BroadcastOptions): JobHandler<BroadcastData> {
  const { pool, deliverer, recorder, concurrency, page = 1_000 } = options;

  return async ({ data }, { signal, stopping, progress, log }): Promise<JobOutcome> => {
    const counts = new Map<AttemptOutcome, number>();
    const grace = graceAfter(signal);
    let refusal: string | undefined;
    const ended = AbortSignal.any([signal, stopping]);
    try {
      await runLanes(
        deliveriesOf(fanOutToEverybody(pool, data, page)),
        { concurrency, signal: ended },
        async (one) => {
          const { recorded, kind, detail } = await deliverer.attempt(one.delivery, one.nowMs(), grace.signal);
          counts.set(kind, (counts.get(kind) ?? 0) + 1);
          if (kind === 'rejected') refusal ??= detail;
          if (recorded !== undefined) await recorder.record(recorded);
          progress();
        },
      );
    } finally {
      grace.end();
    }
    // What was recorded is passed over by the one that goes on.
    if (ended.aborted) return { outcome: 'unfinished' };
    const output = Object.fromEntries(counts);
    log.info({ position: data.position, ...output }, 'a broadcast has been through');
    if (refusal === undefined) return { outcome: 'completed', output };
    const error = new Error(`${counts.get('rejected')} deliveries of a broadcast were refused: ${refusal}`);
    return { outcome: 'failed', error, retry: false };
  };
}

interface TimedDelivery {
  readonly delivery: Delivery;
  /** The database's time, in milliseconds since 1970. */
  nowMs(): number;
}

async function* deliveriesOf(pages: ReturnType<typeof fanOutToEverybody>): AsyncGenerator<TimedDelivery> {
  for await (const { deliveries, nowMs } of pages) {
    const readAtMs = performance.now();
    for (const delivery of deliveries)
      yield { delivery, nowMs: () => nowMs + (performance.now() - readAtMs) };
  }
}

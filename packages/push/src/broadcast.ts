// A message for everybody: one long job that streams through all subscriptions, and goes on where it was after a crash.

import { createHash } from 'node:crypto';
import { defineQueue } from '@pulsebox/jobs';
import type { JobHandler, JobOutcome, Jobs, JobToSend, Queue } from '@pulsebox/jobs';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Deliverer } from './deliver.ts';
import type { Delivery } from './delivery.ts';
import { deliveryOutcomes } from './delivery-outcomes.ts';
import { fanOutToEverybody } from './fan-out.ts';
import { graceAfter } from './grace.ts';
import { runLanes } from './lanes.ts';
import type { PushRequest } from './push-request.ts';
import { STATEMENT_MS } from './record-deliveries.ts';
import type { Recorder } from './recorder.ts';
import { deadLetter, PUSH_GROUP, refusalOf } from './refused.ts';

export interface BroadcastData extends Omit<PushRequest, 'userId'> {
  readonly userId: null;
}

/** While the event of a broadcast is being replayed nobody can report on it. */
const AFTER_REPLAY_SECONDS = 10;

const FOUR_WEEKS_AND_A_DAY_SECONDS = 29 * 86_400;

export const broadcastQueue: Queue<BroadcastData> = defineQueue<BroadcastData>('push-broadcast', {
  // Each begins where the one before it ended, so none is lost by many.
  attempts: 100,
  timeoutSeconds: 86_400,
  // The id of a job that is kept is not sent again: as long as a message may live, an event makes one job.
  keepFinishedSeconds: FOUR_WEEKS_AND_A_DAY_SECONDS,
});

/** The same event makes the same job, however often its batch is delivered; each replay of it another. */
export function broadcastJob(request: PushRequest): JobToSend<BroadcastData> {
  const { position, replay = '' } = request;
  const hash = createHash('sha256').update(`push.broadcast ${position} ${replay}`).digest('hex');
  const id = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`].join(
    '-',
  );
  return { id: `${id}-${hash.slice(20, 32)}`, data: { ...request, userId: null } };
}

export interface BroadcastOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  readonly deliverer: Deliverer;
  readonly recorder: Recorder;
  /** The most deliveries in flight. Also the most that a crash can repeat. */
  readonly concurrency: number;
  /** How many subscriptions are in memory at a time. Default 1,000. */
  readonly page?: number | undefined;
}

/** Ends when the last subscription has been through; the event is a dead letter when services refused the message. */
export function broadcastHandler(options: BroadcastOptions): JobHandler<BroadcastData> {
  const { pool, jobs, deliverer, recorder, concurrency, page = 1_000 } = options;

  return async (job, { signal, stopping, progress, log }): Promise<JobOutcome> => {
    const { data } = job;
    const grace = graceAfter(signal);
    let refusal: string | undefined;
    const ended = AbortSignal.any([signal, stopping]);
    try {
      await runLanes(
        deliveriesOf(fanOutToEverybody(pool, data, page)),
        { concurrency, signal: ended },
        async (one) => {
          const { recorded, kind, detail } = await deliverer.attempt(one.delivery, one.nowMs(), grace.signal);
          if (kind === 'rejected') refusal ??= refusalOf(one.delivery.subscriptionId, detail);
          if (recorded !== undefined) await recorder.record(recorded);
          progress();
        },
      );
    } finally {
      grace.end();
    }
    // What was recorded is passed over by the one that goes on.
    if (ended.aborted) return { outcome: 'unfinished' };
    // Of all workers that had a part in it.
    const output = await deliveryOutcomes(pool, data.position);
    log.info({ position: data.position, ...output }, 'a broadcast has been through');
    const { rejected = 0 } = output;
    if (rejected === 0) return { outcome: 'completed', output };
    const reason = `${rejected} of its deliveries were refused: ${refusal ?? 'before its worker was replaced'}`;
    const marked = await boundedTransaction(pool, { statementMs: STATEMENT_MS }, async (client) => {
      if (!(await deadLetter(client, data, reason)).marked) return false;
      const { completed } = await jobs.complete(job, { client, output });
      if (!completed) throw new Error('the job is not ours any more; nothing was written');
      return true;
    });
    if (!marked) {
      const error = new Error(`${reason}; its event is being replayed, and can be told so when that is over`);
      return { outcome: 'failed', error, retryInSeconds: AFTER_REPLAY_SECONDS };
    }
    log.error({ group: PUSH_GROUP, position: data.position, reason }, 'dead letter: a broadcast was refused');
    return { outcome: 'settled' };
  };
}

interface TimedDelivery {
  readonly delivery: Delivery;
  /** The database's time, in milliseconds since 1970. */
  nowMs(): number;
}

/** Ends early when its time to live is over: what would only be recorded as too late is left alone. */
async function* deliveriesOf(pages: ReturnType<typeof fanOutToEverybody>): AsyncGenerator<TimedDelivery> {
  for await (const { deliveries, nowMs } of pages) {
    if (deliveries.some(({ expiresAtMs }) => expiresAtMs <= nowMs)) return;
    const readAtMs = performance.now();
    for (const delivery of deliveries)
      yield { delivery, nowMs: () => nowMs + (performance.now() - readAtMs) };
  }
}

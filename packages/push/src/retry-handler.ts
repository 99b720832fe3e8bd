// The job that tries a delivery again: recorded and ended in one transaction, so that neither can be without the other.

import type { Job, JobHandler, JobOutcome, Jobs } from '@pulsebox/jobs';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Attempted, Deliverer } from './deliver.ts';
import type { Delivery } from './delivery.ts';
import { graceAfter } from './grace.ts';
import { deadLetter, PUSH_GROUP, refusalOf } from './refused.ts';
import { STATEMENT_MS, writeRecords } from './record-deliveries.ts';
import type { RecordedDelivery } from './record-deliveries.ts';
import { retryJob, retryQueue } from './retry-queue.ts';
import type { RetryData } from './retry-queue.ts';
import type { SubscriptionKeys } from './sender.ts';

/**
 * Result: the subscription as it is now, whether a later message of the topic was delivered to it, and the time.
 * $1 position, $2 subscription, $3 topic or null, $4 the user, or null for a broadcast.
 * Indexes: delivery_pkey, push_subscriptions_pkey, delivery_topic. 0 rows: the delivery does not wait any more.
 * Null keys: the subscription is gone, or another user's by now: somebody else has logged in at that browser.
 */
export const SELECT_WAITING = `
  select s.endpoint, s.p256dh, s.auth, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms,
         $3::text is not null and exists (
           select from push.delivery later
           where later.subscription_id = d.subscription_id and later.topic = $3 and later.position > d.position
             and later.outcome = 'sent') as superseded
  from push.delivery d
  left join app.push_subscriptions s
    on s.subscription_id = d.subscription_id and ($4::text is null or s.user_id = $4)
  where d.position = $1 and d.subscription_id = $2 and d.outcome = 'waiting'`;

interface WaitingRow {
  readonly endpoint: string | null;
  readonly p256dh: string | null;
  readonly auth: string | null;
  readonly now_ms: number;
  readonly superseded: boolean;
}

export interface RetryOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  readonly deliverer: Deliverer;
}

/** For what was refused while its event is being replayed: when that is over, it is refused again and reported. */
const AFTER_REPLAY_MS = 10_000;

const NO_KEYS: SubscriptionKeys = { endpoint: '', p256dh: '', auth: '' };

export function retryHandler({ pool, jobs, deliverer }: RetryOptions): JobHandler<RetryData> {
  /** Both or neither; and neither when another worker has the job by now. */
  async function settle(
    job: Job<RetryData>,
    attempted: RecordedDelivery,
    refusal?: string,
  ): Promise<JobOutcome> {
    const { delivery } = attempted;
    const removed = await boundedTransaction(pool, { statementMs: STATEMENT_MS }, async (client) => {
      const isReported = refusal === undefined || (await deadLetter(client, delivery, refusal)).marked;
      const recorded: RecordedDelivery = isReported
        ? attempted
        : { delivery, outcome: 'waiting', retryInMs: AFTER_REPLAY_MS };
      const count = await writeRecords(client, [recorded]);
      if (recorded.outcome === 'waiting') {
        const { data, delaySeconds } = retryJob(delivery, recorded.retryInMs ?? 0);
        await jobs.send(retryQueue, data, { client, delaySeconds: delaySeconds ?? 0 });
      }
      const output = { outcome: recorded.outcome };
      const { completed } = await jobs.complete(job, { client, output });
      if (!completed) throw new Error('the job is not ours any more; nothing was written');
      return count;
    });
    deliverer.removed(removed);
    return { outcome: 'settled' };
  }

  return async (job, { signal, log }): Promise<JobOutcome> => {
    const { data } = job;
    const { position, userId, subscriptionId, message } = data;
    const { rows } = await pool.query<WaitingRow>(SELECT_WAITING, [
      position,
      subscriptionId,
      message.topic ?? null,
      userId,
    ]);
    const [row] = rows;
    if (row === undefined) return { outcome: 'completed', output: { outcome: 'not waiting' } };
    const { endpoint, p256dh, auth } = row;
    if (endpoint === null || p256dh === null || auth === null)
      return await settle(job, { delivery: deliveryOf(data, NO_KEYS), outcome: 'gone' });
    const delivery = deliveryOf(data, { endpoint, p256dh, auth });
    if (row.superseded) return await settle(job, { delivery, outcome: 'superseded' });

    const grace = graceAfter(signal);
    let attempted: Attempted;
    try {
      attempted = await deliverer.attempt(delivery, row.now_ms, grace.signal);
    } finally {
      grace.end();
    }
    const { recorded, kind, detail } = attempted;
    if (recorded === undefined) return { outcome: 'unfinished' };
    if (kind !== 'rejected') return await settle(job, recorded);
    const reason = refusalOf(subscriptionId, detail);
    const outcome = await settle(job, recorded, reason);
    log.error({ group: PUSH_GROUP, position, reason }, 'dead letter: a push service refuses a message');
    return outcome;
  };
}

function deliveryOf(data: RetryData, subscription: SubscriptionKeys): Delivery {
  return { ...data, subscription };
}

// Writes down what became of deliveries, and what follows from it for their subscriptions and for the retries.

import type { Jobs, JobToSend } from '@pulsebox/jobs';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Delivery, DeliveryOutcome } from './delivery.ts';
import { retryJob, retryQueue } from './retry-queue.ts';

export interface RecordedDelivery {
  readonly delivery: Delivery;
  readonly outcome: DeliveryOutcome;
  /** With `waiting`: how long, in milliseconds. */
  readonly retryInMs?: number;
  /** With `waiting`: the trace that the retry is a part of. */
  readonly trace?: JobToSend<object>['trace'];
}

/**
 * Result: how many subscriptions were removed. $1 positions, $2 subscriptions, $3 outcomes, $4 topics, $5 expiries in
 * ms since 1970, $6 p256dh, $7 auth; each (position, subscription) once.
 * Indexes: delivery_pkey, push_subscriptions_pkey. Always one row.
 *
 * A subscription is removed only with the keys that the service said it does not know: one that subscribed again
 * meanwhile stays.
 */
export const RECORD_DELIVERIES = `
  with given as materialized (
    select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::text[])
      as g(position, subscription_id, outcome, topic, expires_at_ms, p256dh, auth)
  ),
  recorded as (
    insert into push.delivery as d (position, subscription_id, outcome, topic, expires_at)
    select position, subscription_id, outcome, topic, to_timestamp(expires_at_ms / 1000) + interval '1 hour'
    from given
    on conflict (position, subscription_id) do update set outcome = excluded.outcome
      where d.outcome <> excluded.outcome
  ),
  removed as (
    delete from app.push_subscriptions s using given g
    where g.outcome = 'gone'
      and s.subscription_id = g.subscription_id and s.p256dh = g.p256dh and s.auth = g.auth
    returning s.subscription_id
  ),
  touched as (
    select subscription_id, bool_or(outcome = 'sent') as took_one,
           count(*) filter (where outcome in ('waiting', 'rejected', 'forbidden', 'invalid'))::integer as failures
    from given group by subscription_id having not bool_or(outcome = 'gone')
  ),
  noted as (
    update app.push_subscriptions s
    set last_success_at = case when t.took_one then now() else s.last_success_at end,
        failure_count = case when t.took_one then 0 else s.failure_count + t.failures end
    from touched t
    where s.subscription_id = t.subscription_id
      and case when t.took_one
            then s.failure_count > 0 or s.last_success_at is null or s.last_success_at < now() - interval '1 hour'
            else t.failures > 0 end
  )
  select count(*)::integer as removed from removed`;

/** How long the database may take for one statement, in milliseconds. */
export const STATEMENT_MS = 10_000;

/** All of it or nothing. Result: how many subscriptions were removed. */
export async function recordDeliveries(
  pool: Pool,
  jobs: Jobs,
  recorded: readonly RecordedDelivery[],
): Promise<number> {
  const retries = recorded.flatMap(({ delivery, outcome, retryInMs = 0, trace }) =>
    outcome === 'waiting' ? [{ ...retryJob(delivery, retryInMs), trace }] : [],
  );
  // By far the most often there are none, and one statement is a transaction by itself.
  if (retries.length === 0) return await writeRecords(pool, recorded);
  // Known before the transaction begins: what pg-boss asks for its own sake stays out of it.
  await jobs.ready();
  return await boundedTransaction(pool, { statementMs: STATEMENT_MS }, async (client) => {
    const removed = await writeRecords(client, recorded);
    await jobs.sendAll(retryQueue, retries, { client });
    return removed;
  });
}

/** For a transaction of the caller's. Result: how many subscriptions were removed. */
export async function writeRecords(db: Queryable, recorded: readonly RecordedDelivery[]): Promise<number> {
  const { rows } = await db.query<{ removed: number }>(RECORD_DELIVERIES, [
    recorded.map(({ delivery }) => delivery.position),
    recorded.map(({ delivery }) => delivery.subscriptionId),
    recorded.map(({ outcome }) => outcome),
    recorded.map(({ delivery }) => delivery.message.topic ?? null),
    recorded.map(({ delivery }) => delivery.expiresAtMs),
    recorded.map(({ delivery }) => delivery.subscription.p256dh),
    recorded.map(({ delivery }) => delivery.subscription.auth),
  ]);
  return rows[0]?.removed ?? 0;
}

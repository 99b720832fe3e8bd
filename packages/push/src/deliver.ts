// One attempt at one delivery, from the look at the clock to what is to be recorded. Used by batches, broadcasts and
// retries alike.

import type { Logger, LoopCheck } from '@pulsebox/loop';
import type { Registry } from 'prom-client';
import { createDeniedAlarm } from './denied.ts';
import { remainingTtlSeconds } from './delivery.ts';
import type { Delivery } from './delivery.ts';
import { pushMetrics } from './push-metrics.ts';
import type { AttemptOutcome } from './push-metrics.ts';
import type { RecordedDelivery } from './record-deliveries.ts';
import { retryDelayMs } from './retry-queue.ts';
import type { Backoff } from './retry-queue.ts';
import { inSendSpan } from './send-span.ts';
import { createPushSender } from './sender.ts';
import type { Outcome, PushSenderOptions } from './sender.ts';
import { serviceOf, services } from './service.ts';

export interface Attempted {
  /** Undefined: we gave up, and nobody knows whether it arrived. Nothing is recorded, it will be sent again. */
  readonly recorded: RecordedDelivery | undefined;
  readonly kind: AttemptOutcome;
  /** For people: no endpoint, no key. */
  readonly detail: string;
}

export interface Deliverer {
  /** Never rejects. @param nowMs the database's time, in milliseconds since 1970 */
  attempt(delivery: Delivery, nowMs: number, signal: AbortSignal): Promise<Attempted>;
  /** Subscriptions were removed from the database. */
  removed(subscriptions: number): void;
  checks(): Readonly<Record<string, LoopCheck>>;
  close(): Promise<void>;
}

export interface DelivererOptions extends Omit<PushSenderOptions, 'breaker'> {
  readonly breaker?: Omit<NonNullable<PushSenderOptions['breaker']>, 'onChange'> | undefined;
  /** How long a delivery waits that failed. */
  readonly backoff?: Backoff | undefined;
  /** Where metrics are registered. Without it there are none. */
  readonly registry?: Registry | undefined;
  /** Told when a service begins or ceases to refuse our VAPID token, or to be left alone. Default: nobody is. */
  readonly log?: Logger | undefined;
}

/** A wrong key is not mended in seconds; asking all the time makes services block the sender. */
const LEAST_WAIT_AFTER_DENIAL_MS = 300_000;

/** @throws PUSH_VAPID_INVALID, PUSH_OPTIONS_INVALID */
export function createDeliverer(options: DelivererOptions): Deliverer {
  const { backoff, registry, log } = options;
  const metrics = registry === undefined ? undefined : pushMetrics(registry);
  for (const service of services) {
    metrics?.breakersOpen.set({ service }, 0);
    metrics?.denied.set({ service }, 0);
  }
  const alarm = createDeniedAlarm((service, origins, origin, denies) => {
    metrics?.denied.set({ service }, origins);
    if (denies)
      log?.warn(
        { service, origin },
        'a push service refuses our VAPID token, and will be asked again: check the VAPID_ variables and the clock',
      );
    else log?.info({ service, origin }, 'a push service takes our VAPID token again');
  });
  const open = new Set<string>();
  const sender = createPushSender({
    ...options,
    breaker: {
      ...options.breaker,
      onChange(origin, isOpen): void {
        if (isOpen) open.add(origin);
        else open.delete(origin);
        const service = serviceOf(origin);
        metrics?.breakersOpen.inc({ service }, isOpen ? 1 : -1);
        if (isOpen)
          log?.warn({ service, origin }, 'a push service fails or is slow: what is for it waits as jobs');
        else log?.info({ service, origin }, 'a push service is back');
      },
    },
  });

  function observe(kind: AttemptOutcome, origin = '', tookMs?: number): void {
    const service = serviceOf(origin);
    metrics?.deliveries.inc({ service, outcome: kind });
    if (tookMs !== undefined) metrics?.latency.observe({ service }, tookMs / 1_000);
    if (kind === 'denied') alarm.denied(origin);
    if (kind === 'sent') alarm.accepted(origin);
  }

  function decide(delivery: Delivery, outcome: Outcome, nowMs: number): Attempted {
    const { kind, detail, retryAfterMs = 0 } = outcome;
    if (kind === 'aborted') return { recorded: undefined, kind, detail };
    if (kind !== 'denied' && kind !== 'held' && kind !== 'throttled' && kind !== 'unavailable')
      return { recorded: { delivery, outcome: kind }, kind, detail };
    const leastMs = kind === 'denied' ? LEAST_WAIT_AFTER_DENIAL_MS : 0;
    const retryInMs = retryDelayMs(delivery.attempt, Math.max(leastMs, retryAfterMs), backoff);
    if (nowMs + retryInMs < delivery.expiresAtMs)
      return { recorded: { delivery, outcome: 'waiting', retryInMs }, kind, detail };
    // What would come after its time is over now.
    metrics?.expired.inc({ service: serviceOf(outcome.origin ?? '') });
    return { recorded: { delivery, outcome: 'expired' }, kind, detail };
  }

  return {
    async attempt(delivery, nowMs, signal): Promise<Attempted> {
      const startedAtMs = performance.now();
      const ttlSeconds = remainingTtlSeconds(delivery, nowMs);
      if (ttlSeconds === undefined) {
        const origin = URL.parse(delivery.subscription.endpoint)?.origin ?? '';
        observe('expired', origin);
        metrics?.expired.inc({ service: serviceOf(origin) });
        return {
          recorded: { delivery, outcome: 'expired' },
          kind: 'expired',
          detail: 'its time to live is over',
        };
      }
      const { subscription, message, userId, subscriptionId } = delivery;
      const owner = userId ?? String(subscriptionId);
      const outcome = await inSendSpan(() =>
        sender.send(subscription, message, { ttlSeconds, owner, signal }),
      );
      observe(outcome.kind, outcome.origin, outcome.tookMs);
      return decide(delivery, outcome, nowMs + (performance.now() - startedAtMs));
    },
    removed(subscriptions): void {
      if (subscriptions > 0) metrics?.removed.inc(subscriptions);
    },
    checks: () => ({
      vapid: alarm.check(),
      'push-services':
        open.size === 0
          ? { status: 'ok' }
          : { status: 'degraded', detail: `left alone after failures: ${[...open].slice(0, 3).join(', ')}` },
    }),
    close: () => sender.close(),
  };
}

// Prometheus families of push. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** How one attempt at one delivery ended. */
export const attemptOutcomes = [
  'sent',
  'gone',
  'rejected',
  'denied',
  'throttled',
  'unavailable',
  'held',
  'forbidden',
  'invalid',
  'aborted',
  'expired',
] as const;
export type AttemptOutcome = (typeof attemptOutcomes)[number];

export interface PushMetrics {
  readonly deliveries: Counter<'service' | 'outcome'>;
  readonly expired: Counter<'service'>;
  readonly latency: Histogram<'service'>;
  readonly breakersOpen: Gauge<'service'>;
  readonly denied: Gauge<'service'>;
  readonly removed: Counter;
}

/** Seconds. */
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function pushMetrics(registry: Registry): PushMetrics {
  const registers = [registry];
  return {
    deliveries: new Counter({
      name: 'push_deliveries_total',
      help: 'Attempts to deliver one message to one subscription, by how they ended.',
      labelNames: ['service', 'outcome'],
      registers,
    }),
    expired: new Counter({
      name: 'push_deliveries_expired_total',
      help: 'Deliveries that were given up because their time to live was over, or would have been at the next attempt.',
      labelNames: ['service'],
      registers,
    }),
    latency: new Histogram({
      name: 'push_service_latency_seconds',
      help: 'How long push services took, from the first byte to the end of the answer or the deadline.',
      labelNames: ['service'],
      buckets: LATENCY_BUCKETS,
      registers,
    }),
    breakersOpen: new Gauge({
      name: 'push_breakers_open',
      help: 'Push services that are left alone for a while because they failed again and again.',
      labelNames: ['service'],
      registers,
    }),
    denied: new Gauge({
      name: 'push_services_denying',
      help: 'Push services that refuse our VAPID token (401, 403) and have taken nothing since.',
      labelNames: ['service'],
      registers,
    }),
    removed: new Counter({
      name: 'push_subscriptions_removed_total',
      help: 'Subscriptions that were removed because their push service knows them no longer.',
      registers,
    }),
  };
}

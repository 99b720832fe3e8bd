// Prometheus families of mailboxes. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

export interface GmailMetrics {
  readonly requests: Counter<'method' | 'outcome'>;
  readonly requestDuration: Histogram<'method'>;
  readonly syncs: Counter<'kind' | 'outcome'>;
  readonly messages: Counter<'operation'>;
  readonly watches: Counter<'outcome'>;
  readonly connections: Gauge<'state'>;
  readonly watchExpiry: Gauge;
  readonly unwatched: Gauge;
  readonly oldestSync: Gauge;
}

export function gmailMetrics(registry: Registry): GmailMetrics {
  const registers = [registry];
  const metrics: GmailMetrics = {
    requests: new Counter({
      name: 'gmail_requests_total',
      help: 'Requests to the Gmail API, tries included.',
      labelNames: ['method', 'outcome'],
      registers,
    }),
    requestDuration: new Histogram({
      name: 'gmail_request_duration_seconds',
      help: 'How long the Gmail API took, new access tokens included, waits for quota left out.',
      labelNames: ['method'],
      buckets: [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    syncs: new Counter({
      name: 'gmail_syncs_total',
      help: 'Syncs of mailboxes, by what they read and how they ended.',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
    messages: new Counter({
      name: 'gmail_messages_total',
      help: 'Messages stored, marked as deleted, told of, or set aside.',
      labelNames: ['operation'],
      registers,
    }),
    watches: new Counter({
      name: 'gmail_watches_total',
      help: 'Watches registered or renewed.',
      labelNames: ['outcome'],
      registers,
    }),
    connections: new Gauge({
      name: 'gmail_connections',
      help: 'Mailboxes that are connected, by state.',
      labelNames: ['state'],
      registers,
    }),
    watchExpiry: new Gauge({
      name: 'gmail_watch_expiry_seconds',
      help: 'Until the first watch of an active mailbox expires; below 0 it has.',
      registers,
    }),
    unwatched: new Gauge({
      name: 'gmail_unwatched_connections',
      help: 'Active mailboxes without a watch, or with an expired one.',
      registers,
    }),
    oldestSync: new Gauge({
      name: 'gmail_oldest_sync_age_seconds',
      help: 'Since the active mailbox that was synced longest ago was synced.',
      registers,
    }),
  };
  // A gauge without labels stands at 0 from the start, which reads as a watch that ends now; what it says comes from one
  // process of all, and `worker` is never it.
  for (const gauge of [metrics.watchExpiry, metrics.unwatched, metrics.oldestSync]) gauge.remove();
  return metrics;
}

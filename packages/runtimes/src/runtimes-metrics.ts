// Prometheus families of runtimes. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

export interface RuntimesMetrics {
  readonly runtimes: Gauge<'state'>;
  readonly waiting: Gauge;
  readonly decisions: Counter<'decision'>;
  readonly startDuration: Histogram;
  readonly requests: Counter<'verb' | 'outcome'>;
  readonly requestDuration: Histogram<'verb'>;
  readonly lastRound: Gauge;
}

/** What is counted of what the reconciler does. */
export const countedDecisions = [
  'create-pod',
  'create-service',
  'know',
  'run',
  'fail',
  'fail-if-gone',
  'stop-idle',
  'delete',
  'gone',
  'delete-orphan',
] as const;

const VERBS = ['get', 'list', 'create', 'delete'] as const;
const OUTCOMES = ['ok', 'conflict', 'refused', 'denied', 'throttled', 'away'] as const;

export function runtimesMetrics(registry: Registry): RuntimesMetrics {
  const registers = [registry];
  const metrics: RuntimesMetrics = {
    runtimes: new Gauge({
      name: 'runtimes',
      help: 'Users with a runtime, by its state. Set by the process that keeps them.',
      labelNames: ['state'],
      registers,
    }),
    waiting: new Gauge({
      name: 'runtimes_waiting_for_place',
      help: 'Runtimes that are to start and wait, since their organisation has no place left.',
      registers,
    }),
    decisions: new Counter({
      name: 'runtimes_decisions_total',
      help: 'What the reconciler has done, by what it was.',
      labelNames: ['decision'],
      registers,
    }),
    startDuration: new Histogram({
      name: 'runtimes_start_duration_seconds',
      help: 'From the request of a start until the runtime was ready.',
      buckets: [1, 2, 5, 10, 20, 30, 60, 120, 300, 600],
      registers,
    }),
    requests: new Counter({
      name: 'runtimes_api_requests_total',
      help: 'Requests to the API server of Kubernetes.',
      labelNames: ['verb', 'outcome'],
      registers,
    }),
    requestDuration: new Histogram({
      name: 'runtimes_api_request_duration_seconds',
      help: 'How long the API server of Kubernetes took.',
      labelNames: ['verb'],
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    lastRound: new Gauge({
      name: 'runtimes_last_round_timestamp_seconds',
      help: 'When a round over all runtimes last ended well, by the process that keeps them.',
      registers,
    }),
  };
  for (const decision of countedDecisions) metrics.decisions.inc({ decision }, 0);
  for (const verb of VERBS) for (const outcome of OUTCOMES) metrics.requests.inc({ verb, outcome }, 0);
  // A gauge without labels stands at 0 from the start; what it says comes from one process of all.
  metrics.waiting.remove();
  metrics.lastRound.remove();
  return metrics;
}

// Prometheus families of tracing. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import type { Registry } from '@pulsebox/loop';
import { Counter } from 'prom-client';

/** `queue_full`: more came than could be sent. `export_failed`: the collector did not take them. `stopped`: the worker ended. */
export const dropReasons = ['queue_full', 'export_failed', 'stopped'] as const;

export interface TracingMetrics {
  readonly exported: Counter;
  readonly dropped: Counter<'reason'>;
}

export function tracingMetrics(registry: Registry): TracingMetrics {
  const registers = [registry];
  const metrics = {
    exported: new Counter({
      name: 'tracing_spans_exported_total',
      help: 'Spans that the collector has taken.',
      registers,
    }),
    dropped: new Counter({
      name: 'tracing_spans_dropped_total',
      help: 'Spans that the collector never got, by the reason.',
      labelNames: ['reason'],
      registers,
    }),
  };
  for (const reason of dropReasons) metrics.dropped.inc({ reason }, 0);
  return metrics;
}

// Prometheus families of upkeep. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import type { Registry } from '@pulsebox/loop';
import { Counter, Gauge, Histogram } from 'prom-client';

export interface UpkeepMetrics {
  readonly runs: Counter<'task' | 'outcome'>;
  readonly removed: Counter<'task'>;
  readonly duration: Histogram<'task'>;
  readonly lastSuccess: Gauge<'schedule'>;
  readonly overdue: Gauge<'schedule'>;
}

export function upkeepMetrics(registry: Registry): UpkeepMetrics {
  const registers = [registry];
  return {
    runs: new Counter({
      name: 'upkeep_runs_total',
      help: 'Runs of a task of upkeep, by how they ended.',
      labelNames: ['task', 'outcome'],
      registers,
    }),
    removed: new Counter({
      name: 'upkeep_removed_total',
      help: 'What upkeep has removed: partitions of the log, dead letters.',
      labelNames: ['task'],
      registers,
    }),
    duration: new Histogram({
      name: 'upkeep_duration_seconds',
      help: 'How long a run of a task of upkeep took.',
      labelNames: ['task'],
      buckets: [0.01, 0.1, 1, 10, 60, 300],
      registers,
    }),
    lastSuccess: new Gauge({
      name: 'schedule_last_success_age_seconds',
      help: 'Since what is scheduled last ran to its end; before its first run, since it was scheduled.',
      labelNames: ['schedule'],
      registers,
    }),
    overdue: new Gauge({
      name: 'schedule_overdue',
      help: '1 when what is scheduled has not run to its end for more than two of its intervals.',
      labelNames: ['schedule'],
      registers,
    }),
  };
}

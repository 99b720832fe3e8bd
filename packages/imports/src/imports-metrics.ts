// Prometheus families of imports. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

export const rowOutcomes = ['created', 'updated', 'unchanged', 'skipped', 'failed'] as const;

/** How a run ended. `fenced`: another worker has the import. `error`: it is tried again. */
export const runOutcomes = [
  'completed',
  'failed',
  'cancelled',
  'paused',
  'handed_over',
  'fenced',
  'error',
] as const;
export type RunOutcome = (typeof runOutcomes)[number];

export interface ImportsMetrics {
  readonly rows: Counter<'outcome'>;
  readonly runs: Counter<'outcome'>;
  readonly chunkDuration: Histogram;
  readonly running: Gauge;
  readonly open: Gauge<'state'>;
  readonly oldestQueued: Gauge;
}

export function importsMetrics(registry: Registry): ImportsMetrics {
  const registers = [registry];
  return {
    rows: new Counter({
      name: 'imports_rows_total',
      help: 'Rows of files, by what became of them, counted when their chunk was committed.',
      labelNames: ['outcome'],
      registers,
    }),
    runs: new Counter({
      name: 'imports_runs_total',
      help: 'Runs of imports, by how they ended.',
      labelNames: ['outcome'],
      registers,
    }),
    chunkDuration: new Histogram({
      name: 'imports_chunk_duration_seconds',
      help: 'How long a chunk took to be written and committed.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    running: new Gauge({
      name: 'imports_running',
      help: 'Imports that this process runs.',
      registers,
    }),
    open: new Gauge({
      name: 'imports_open',
      help: 'Imports in the database that have not ended, by state.',
      labelNames: ['state'],
      registers,
    }),
    oldestQueued: new Gauge({
      name: 'imports_oldest_queued_age_seconds',
      help: 'How long the import that waits longest has been waiting; 0 when none does.',
      registers,
    }),
  };
}

// The metric families that every worker has. docs/metrics.md explains each; a test compares the two.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export type { Registry } from 'prom-client';

/** Seconds. From a batch that is one row to one that is a minute's import. */
const BATCH_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Default metrics that we leave out. promtool rejects a gauge that ends in _total, and the handles and requests by
 * C++ class come from undocumented process internals; nodejs_active_resources says the same.
 */
const REJECTED_DEFAULTS: readonly string[] = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** A registry to hand to whatever adds families of its own. Text format only. */
export function createRegistry(): Registry {
  return new Registry();
}

export interface LoopMetrics {
  handled(events: number, seconds: number): void;
  succeeded(): void;
  failed(): void;
}

export interface WorkerMetricsOptions {
  readonly registry: Registry;
  readonly worker: string;
  readonly version: string;
  readonly commit: string;
  readonly loops: readonly string[];
}

/** Registers the families with every series at its start value; returns what a loop counts with. */
export function createWorkerMetrics(options: WorkerMetricsOptions): (loop: string) => LoopMetrics {
  const { registry, worker, version, commit, loops } = options;
  const registers = [registry];
  const counter = (name: string, help: string): Counter<'worker'> => {
    const made = new Counter({ name, help, labelNames: ['worker'] as const, registers });
    made.inc({ worker }, 0);
    return made;
  };
  const batches = counter('worker_batches_total', 'Batches handled; empty polls are not counted.');
  const events = counter('worker_events_total', 'Events handled.');
  const errors = counter('worker_errors_total', 'Ticks that failed or passed their deadline.');
  const duration = new Histogram({
    name: 'worker_batch_duration_seconds',
    help: 'How long batches took; empty polls are not observed.',
    labelNames: ['worker'] as const,
    buckets: [...BATCH_BUCKETS],
    registers,
  });
  duration.zero({ worker });
  const lastPoll = new Gauge({
    name: 'worker_last_poll_timestamp_seconds',
    help: 'When a tick of any loop last succeeded; from the start of the process on.',
    labelNames: ['worker'] as const,
    registers,
  });
  const loopErrors = new Counter({
    name: 'worker_loop_errors_total',
    help: 'Ticks of this loop that failed or passed their deadline.',
    labelNames: ['worker', 'loop'] as const,
    registers,
  });
  const loopSuccess = new Gauge({
    name: 'worker_loop_last_success_timestamp_seconds',
    help: 'When a tick of this loop last succeeded; from the start of the process on.',
    labelNames: ['worker', 'loop'] as const,
    registers,
  });
  new Gauge({
    name: 'worker_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['worker', 'version', 'commit', 'node'] as const,
    registers,
  }).set({ worker, version, commit, node: process.versions.node }, 1);

  const startedAt = Date.now() / 1_000 - process.uptime();
  lastPoll.set({ worker }, startedAt);
  for (const loop of loops) {
    loopErrors.inc({ worker, loop }, 0);
    loopSuccess.set({ worker, loop }, startedAt);
  }
  addNodeMetrics(registry);

  return (loop) => ({
    handled(count: number, seconds: number): void {
      batches.inc({ worker }, 1);
      events.inc({ worker }, count);
      duration.observe({ worker }, seconds);
    },
    succeeded(): void {
      const now = Date.now() / 1_000;
      lastPoll.set({ worker }, now);
      loopSuccess.set({ worker, loop }, now);
    },
    failed(): void {
      errors.inc({ worker }, 1);
      loopErrors.inc({ worker, loop }, 1);
    },
  });
}

function addNodeMetrics(registry: Registry): void {
  if (registry.getSingleMetric('process_cpu_user_seconds_total') !== undefined) return;
  collectDefaultMetrics({ register: registry });
  for (const name of REJECTED_DEFAULTS) registry.removeSingleMetric(name);
}

// What a worker's metrics say of its process, and of the log where it is the one that looks.

import type { App, WorkerProcess } from './worker-process.ts';

const MIB = 2 ** 20;

export interface WorkerSample {
  /** Of /health. */
  readonly health: number;
  readonly values: Readonly<Record<string, number>>;
}

export async function sampleWorker(worker: WorkerProcess): Promise<WorkerSample> {
  const health = await worker.health();
  const metrics = await worker.metrics().catch(() => new Map<string, number>());
  return { health, values: { ...ofProcess(worker.app, worker, metrics), ...ofLog(metrics) } };
}

function ofProcess(
  app: App,
  worker: WorkerProcess,
  metrics: ReadonlyMap<string, number>,
): Record<string, number> {
  const resources = [...metrics].filter(([name]) => name.startsWith('nodejs_active_resources{'));
  return defined({
    [`memory ${app} resident`]: scaled(metrics.get('process_resident_memory_bytes'), 1 / MIB),
    [`memory ${app} anonymous`]: scaled(worker.anonymous(), 1 / MIB),
    [`memory ${app} heap, garbage included`]: scaled(metrics.get('nodejs_heap_size_used_bytes'), 1 / MIB),
    [`memory ${app} heap after a collection`]: scaled(worker.heapAfterCollection(), 1 / MIB),
    [`memory ${app} outside the heap`]: scaled(metrics.get('nodejs_external_memory_bytes'), 1 / MIB),
    [`descriptors ${app}`]: metrics.get('process_open_fds'),
    [`active resources ${app}`]:
      resources.length === 0 ? undefined : resources.reduce((sum, [, value]) => sum + value, 0),
    [`event loop ${app} p99`]: scaled(metrics.get('nodejs_eventloop_lag_p99_seconds'), 1_000),
    [`CPU seconds ${app}`]: metrics.get('process_cpu_seconds_total'),
  });
}

function ofLog(metrics: ReadonlyMap<string, number>): Record<string, number> {
  const lags = [...metrics].flatMap(([name, value]) => {
    const [, group] = /^outbox_lag_events\{group="([^"]+)"/.exec(name) ?? [];
    return group === undefined ? [] : [[`lag ${group}`, value] as const];
  });
  return Object.fromEntries(lags);
}

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

function defined(values: Readonly<Record<string, number | undefined>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

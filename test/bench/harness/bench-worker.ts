// A real worker around handlers: sidecar, lease, metrics, housekeeping, jobs, LISTEN. Opened as the apps open it.

import { jobsMigrations } from '@pulsebox/jobs';
import { createLogger, createRegistry, parseEnvironment, runWorker } from '@pulsebox/loop';
import type { Logger, Loop, Registry } from '@pulsebox/loop';
import { outboxMigrations } from '@pulsebox/outbox';
import type { DeliveryOrder, Handler } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import { databaseVariables, openLog, outboxVariables } from '@pulsebox/worker-base';
import type { Pool } from 'pg';
import type { Clock } from './contestant.ts';

export interface WorkerResources {
  readonly pool: Pool;
  readonly registry: Registry;
  readonly log: Logger;
}

export interface BenchWorkerOptions {
  readonly url: string;
  readonly group: string;
  readonly batchSize: number;
  handler(resources: WorkerResources): Handler;
  /** Groups besides, each of which is handed what `group` is. */
  readonly furtherGroups?: readonly string[];
  /** Default `key`. */
  readonly order?: DeliveryOrder;
  /** As they stand in a worker's environment, where its defaults are not what is measured. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Loops beside that of the group. */
  furtherLoops?(resources: WorkerResources): readonly Loop[];
  /** Called after each turn of `group`: its batch is handled and its cursor stored. */
  onTick?(events: number): void;
  /** Called once, before the first turn of `group`. */
  onFirstTick?(): void;
  /** Closes what the handler opened. */
  close?(): Promise<void>;
}

/** Resolves when the worker has stopped. */
export async function runBenchWorker(options: BenchWorkerOptions): Promise<void> {
  // Events that fail are told of in lines, which would be written to nobody.
  const log = createLogger({ worker: 'bench', level: 'error' });
  const registry = createRegistry();
  const config = parseEnvironment(
    { ...databaseVariables, ...outboxVariables },
    { ...options.variables, DATABASE_URL: options.url, OUTBOX_WORKER_BATCH_SIZE: String(options.batchSize) },
  );
  const outbox = openLog({
    context: { config, log, registry },
    applicationName: 'pulsebox-bench',
    migrations: [postgresMigrations, jobsMigrations, outboxMigrations],
  });
  const resources: WorkerResources = { pool: outbox.pool, registry, log };
  const handler = options.handler(resources);
  const order = options.order ?? 'key';
  const readers = [options.group, ...(options.furtherGroups ?? [])].map((group) =>
    outbox.consume({ group, handler, order }),
  );
  const exitCode = await runWorker({
    name: 'bench',
    version: '0.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [
      ...readers.map((reader) => (reader.name === options.group ? watched(reader, options) : reader)),
      ...(options.furtherLoops?.(resources) ?? []),
      outbox.housekeeping,
    ],
    once: false,
    log,
    registry,
    stalenessMultiplier: 3,
    async close(): Promise<void> {
      await options.close?.();
      await outbox.close();
    },
  });
  if (exitCode !== 0) throw new Error(`the worker ended with ${exitCode}`);
}

function watched(reader: Loop, options: Pick<BenchWorkerOptions, 'onTick' | 'onFirstTick'>): Loop {
  let ticks = 0;
  return {
    ...reader,
    async tick(context): ReturnType<Loop['tick']> {
      if (ticks === 0) options.onFirstTick?.();
      ticks += 1;
      const result = await reader.tick(context);
      options.onTick?.(result?.events ?? 0);
      return result;
    },
  };
}

/** The way a worker is stopped everywhere else, too. */
export function stopThisWorker(): void {
  process.kill(process.pid, 'SIGTERM');
}

/** Runs a worker until so many events are delivered and their cursor is stored. */
export async function drainWithWorker(
  options: Omit<BenchWorkerOptions, 'onTick' | 'onFirstTick'>,
  events: number,
  clock: Clock,
): Promise<void> {
  let stored = 0;
  await runBenchWorker({
    ...options,
    onFirstTick: clock.start,
    onTick(handled): void {
      if (stored >= events) return;
      stored += handled;
      clock.progress(stored);
      if (stored < events) return;
      clock.stop();
      stopThisWorker();
    },
  });
}

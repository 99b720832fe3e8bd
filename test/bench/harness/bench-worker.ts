// A real worker around one handler: sidecar, lease, metrics, housekeeping, LISTEN. What an application composes.

import { hostname } from 'node:os';
import { createLogger, createRegistry, runWorker } from '@pulsebox/loop';
import type { Loop, Registry } from '@pulsebox/loop';
import { createWaker, housekeeping, outboxMetrics, relay } from '@pulsebox/outbox';
import type { Handler } from '@pulsebox/outbox';
import { createPool } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { Clock } from './contestant.ts';

export interface BenchWorkerOptions {
  readonly url: string;
  readonly group: string;
  readonly batchSize: number;
  handler(resources: { readonly pool: Pool; readonly registry: Registry }): Handler;
  /** Called after each turn: its batch is handled and its cursor stored. */
  onTick?(events: number): void;
  /** Called once, before the first turn. */
  onFirstTick?(): void;
}

/** Resolves when the worker has stopped. */
export async function runBenchWorker(options: BenchWorkerOptions): Promise<void> {
  const { url, group, batchSize } = options;
  const log = createLogger({ worker: 'bench', level: 'warn' });
  const registry = createRegistry();
  const connection = { connectionString: url };
  const pool = createPool({ connection, onIdleError: (error) => log.warn({ err: error }) });
  const waker = createWaker({ connection, log });
  const metrics = outboxMetrics(registry);
  const holder = `${hostname()}/${process.pid}`;
  const handler = options.handler({ pool, registry });
  const reader = relay({ pool, group, handler, holder, waker, metrics, batchSize });
  let ticks = 0;
  const watched: Loop = {
    ...reader,
    async tick(context): ReturnType<Loop['tick']> {
      if (ticks === 0) options.onFirstTick?.();
      ticks += 1;
      const result = await reader.tick(context);
      options.onTick?.(result?.events ?? 0);
      return result;
    },
  };
  const exitCode = await runWorker({
    name: 'bench',
    version: '0.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [watched, housekeeping({ pool, holder, metrics })],
    once: false,
    log,
    registry,
    stalenessMultiplier: 3,
    async close(): Promise<void> {
      await waker.close();
      await pool.end();
    },
  });
  if (exitCode !== 0) throw new Error(`the worker ended with ${exitCode}`);
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

// Pulsebox: a real worker with sidecar, lease, metrics and housekeeping, whose handler does nothing.

import { hostname } from 'node:os';
import { createLogger, createRegistry, runWorker } from '@pulsebox/loop';
import type { Loop } from '@pulsebox/loop';
import { createWaker, emit, housekeeping, outboxMetrics, relay } from '@pulsebox/outbox';
import type { Handler } from '@pulsebox/outbox';
import { createPool } from '@pulsebox/postgres';
import type { Contestant } from '../harness/contestant.ts';
import type { BenchPayload } from '../harness/payload.ts';
import { payload } from '../harness/payload.ts';
import { fillLog, installLog } from './event-log.ts';

const TOPIC = 'bench.event';

/** Producers notify on it when a reader sleeps; the migrations' default. */
const CHANNEL = 'outbox_event';

const doNothing: Handler = async () => undefined;

export const contestant: Contestant = {
  name: 'pulsebox',
  label: 'Pulsebox',
  role: 'pulsebox',
  setting: 'runWorker with sidecar, metrics and housekeeping; batches of 1,000, the cursor stored after each',
  keepsEvents: true,
  install: ({ url }) => installLog(url),
  drain: {
    load: ({ url }, events) => fillLog(url, events),
    async consume({ url, run }, events, clock): Promise<void> {
      let started = false;
      let stored = 0;
      await runBenchWorker({
        url,
        group: run,
        handler: doNothing,
        watch: (loop) => ({
          ...loop,
          // A tick has ended when its batch is handled and its cursor stored.
          async tick(context): ReturnType<Loop['tick']> {
            if (!started) clock.start();
            started = true;
            const result = await loop.tick(context);
            stored += result?.events ?? 0;
            clock.progress(stored);
            if (stored >= events) {
              clock.stop();
              stopThisWorker();
            }
            return result;
          },
        }),
      });
    },
  },
  latency: {
    async emit(client, id): Promise<void> {
      await emit(client, { topic: TOPIC, key: `key:${id % 1_000}`, payload: { ...payload(id) } });
    },
    async consume({ url, run }, handled): Promise<() => Promise<void>> {
      const ready = Promise.withResolvers<void>();
      const handler: Handler = async ({ events }) => {
        for (const { payload: received } of events) handled((received as unknown as BenchPayload).id);
      };
      const ended = runBenchWorker({
        url,
        group: run,
        handler,
        watch: (loop) => ({
          ...loop,
          async tick(context): ReturnType<Loop['tick']> {
            const result = await loop.tick(context);
            ready.resolve();
            return result;
          },
        }),
      });
      await ready.promise;
      return async () => {
        stopThisWorker();
        await ended;
      };
    },
  },
};

interface BenchWorker {
  readonly url: string;
  readonly group: string;
  readonly handler: Handler;
  /** Puts something around the relay's loop. */
  watch(loop: Loop): Loop;
}

/** What an application composes, with nothing left out; resolves when the worker has stopped. */
async function runBenchWorker({ url, group, handler, watch }: BenchWorker): Promise<void> {
  const log = createLogger({ worker: 'bench', level: 'warn' });
  const registry = createRegistry();
  const connection = { connectionString: url };
  const pool = createPool({ connection, onIdleError: (error) => log.warn({ err: error }) });
  const waker = createWaker({ connection, channel: CHANNEL, log });
  const metrics = outboxMetrics(registry);
  const holder = `${hostname()}/${process.pid}`;
  await pool.query('select');
  const exitCode = await runWorker({
    name: 'bench',
    version: '0.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [
      watch(relay({ pool, group, handler, holder, waker, metrics, batchSize: 1_000 })),
      housekeeping({ pool, holder, metrics }),
    ],
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
function stopThisWorker(): void {
  process.kill(process.pid, 'SIGTERM');
}

// Push as a whole, for those who compose it: the handler of the log's group, and the loops beside it.

import { jobLoop } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import type { Loop, LoopCheck, TickResult } from '@pulsebox/loop';
import type { Handler } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { broadcastHandler, broadcastQueue } from './broadcast.ts';
import { createDeliverer } from './deliver.ts';
import type { DelivererOptions } from './deliver.ts';
import { forgetExpired } from './forget-records.ts';
import { pushHandler } from './push-handler.ts';
import { createRecorder } from './recorder.ts';
import { retryHandler } from './retry-handler.ts';
import { retryQueue } from './retry-queue.ts';

export interface PushOptions extends DelivererOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  /** The most deliveries in flight, of batches and of a broadcast each. Default 200. */
  readonly concurrency?: number | undefined;
  /** Of events that do not say. Default 86,400. */
  readonly defaultTtlSeconds?: number | undefined;
  /** How long an idle loop of retries or broadcasts rests, in milliseconds. Default 2,000. */
  readonly pollMs?: number | undefined;
}

export interface Push {
  /** For the relay of the group `push`. Events stand for themselves: `order: 'none'` suits it. */
  readonly handler: Handler;
  /** Retries, broadcasts, and the records that may be forgotten. */
  readonly loops: readonly Loop[];
  /** Warnings: services that refuse our keys, and services that are left alone. */
  checks(): Readonly<Record<string, LoopCheck>>;
  /** Closes all connections to push services. */
  close(): Promise<void>;
}

/** As many streams as services commonly allow on a connection of HTTP/2. */
const DEFAULT_CONCURRENCY = 200;

/** Each is a transaction of its own: few enough to leave connections to others. */
const RETRIES_AT_ONCE = 16;

/** As one statement; a thousand million records are forgotten in a day. */
const FORGET_AT_ONCE = 10_000;
const FORGET_EVERY_MS = 30_000;

/** @throws PUSH_VAPID_INVALID, PUSH_OPTIONS_INVALID */
export function createPush(options: PushOptions): Push {
  const { pool, jobs, pollMs, concurrency = DEFAULT_CONCURRENCY } = options;
  const deliverer = createDeliverer(options);
  const recorder = createRecorder({ pool, jobs, onRemoved: (count) => deliverer.removed(count) });
  const delivering = { pool, jobs, deliverer, recorder, concurrency };
  const polling = pollMs === undefined ? {} : { pollMs };

  return {
    handler: pushHandler({ ...delivering, defaultTtlSeconds: options.defaultTtlSeconds }),
    loops: [
      jobLoop({
        ...polling,
        jobs,
        queue: retryQueue,
        handler: retryHandler(delivering),
        concurrency: RETRIES_AT_ONCE,
      }),
      jobLoop({ ...polling, jobs, queue: broadcastQueue, handler: broadcastHandler(delivering) }),
      forgetLoop(pool),
    ],
    checks: () => deliverer.checks(),
    close: () => deliverer.close(),
  };
}

function forgetLoop(pool: Pool): Loop {
  return {
    name: 'push-records',
    cadenceMs: FORGET_EVERY_MS,
    async tick(): Promise<TickResult> {
      const forgotten = await forgetExpired(pool, FORGET_AT_ONCE);
      return { events: 0, nextInMs: forgotten === FORGET_AT_ONCE ? 0 : FORGET_EVERY_MS };
    },
  };
}

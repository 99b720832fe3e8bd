// The group `search` as a worker runs it, turned by hand: the real relay, its real leases and cursor.

import { createLogger } from '@pulsebox/loop';
import { createWaker, relay } from '@pulsebox/outbox';
import type { Handler } from '@pulsebox/outbox';
import type { Pool } from 'pg';

export interface RunningRelay {
  /** What its ticks threw, but for leases that a busy machine did not renew in time: those batches come again. */
  readonly errors: unknown[];
  stop(): Promise<void>;
}

const LEASE_LOST: ReadonlySet<unknown> = new Set([
  'POSTGRES_LEASE_EXPIRED',
  'OUTBOX_LEASE_LOST',
  'SEARCH_FENCED',
]);

export function runRelay(pool: Pool, handler: Handler): RunningRelay {
  const log = createLogger({ worker: 'test', destination: { write: () => undefined } });
  const waker = createWaker({ connection: undefined, log });
  const loop = relay({
    pool,
    group: 'search',
    handler,
    holder: 'relay',
    waker,
    batchSize: 50,
    pollMs: 20,
    leaseTtlMs: 1_500,
  });
  const stopping = new AbortController();
  const errors: unknown[] = [];
  const context = {
    signal: new AbortController().signal,
    stopping: stopping.signal,
    progress: () => undefined,
    log,
  };

  async function turn(): Promise<void> {
    while (!stopping.signal.aborted) {
      const result = await loop.tick(context).catch((error: unknown) => {
        if (!LEASE_LOST.has((error as { code?: unknown }).code)) errors.push(error);
        return { events: 0, nextInMs: 20 };
      });
      await waker.rest(result?.nextInMs ?? 20, stopping.signal);
    }
  }

  const turning = turn();
  return {
    errors,
    async stop(): Promise<void> {
      stopping.abort();
      await turning;
      await loop.stop?.();
      await waker.close();
    },
  };
}

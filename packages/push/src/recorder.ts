// Collects what became of deliveries and writes it down together: whatever comes while one write is under way is the
// next write. A delivery keeps its place among those in flight until it is written, so that a crash can repeat no more
// deliveries than may be in flight at once.

import { setTimeout as delay } from 'node:timers/promises';
import type { Jobs } from '@pulsebox/jobs';
import { traceHeaders } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import { recordDeliveries } from './record-deliveries.ts';
import type { RecordedDelivery } from './record-deliveries.ts';

export interface Recorder {
  /** Resolves when it is written. @throws what the database did, once it was given some time to come back */
  record(recorded: RecordedDelivery): Promise<void>;
}

export interface RecorderOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  readonly onRemoved: (subscriptions: number) => void;
  /** For how long a write that failed is tried again, in milliseconds. Default 10,000. */
  readonly patienceMs?: number | undefined;
}

interface Waiting {
  readonly recorded: RecordedDelivery;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const WRITE_AGAIN_MS = 250;

export function createRecorder(options: RecorderOptions): Recorder {
  const { pool, jobs, onRemoved, patienceMs = 10_000 } = options;
  let waiting: Waiting[] = [];
  let writing = false;

  async function writeAll(): Promise<void> {
    if (writing) return;
    writing = true;
    // What settles in this turn of the event loop goes into the first write already.
    await delay(0);
    while (waiting.length > 0) {
      const taken = waiting;
      waiting = [];
      try {
        onRemoved(await write(taken.map(({ recorded }) => recorded)));
        for (const { resolve } of taken) resolve();
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    writing = false;
  }

  /** What was sent is sent: forgetting it because the database blinked would send it twice. */
  async function write(recorded: readonly RecordedDelivery[]): Promise<number> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      try {
        return await recordDeliveries(pool, jobs, recorded);
      } catch (error) {
        if (performance.now() + WRITE_AGAIN_MS > untilMs) throw error;
        await delay(WRITE_AGAIN_MS);
      }
    }
  }

  return {
    record(recorded): Promise<void> {
      return new Promise((resolve, reject) => {
        // A write is of many deliveries: the trace of each is known here alone.
        const traced = recorded.outcome === 'waiting' ? { ...recorded, trace: traceHeaders() } : recorded;
        waiting.push({ recorded: traced, resolve, reject });
        void writeAll();
      });
    },
  };
}

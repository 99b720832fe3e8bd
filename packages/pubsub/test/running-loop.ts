// A loop turned by hand as the loop library turns it, without its sidecar: tick after tick, a short wait after a failure.

import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '@pulsebox/loop';
import type { Loop } from '@pulsebox/loop';

export interface RunningLoop {
  /** What its ticks threw, in order. */
  readonly errors: unknown[];
  /** How many ticks have succeeded, with how many events. */
  readonly ticks: number;
  readonly events: number;
  /** Lines that were logged. */
  readonly logged: Readonly<Record<string, unknown>>[];
  stop(): Promise<void>;
}

export function runLoop(loop: Loop): RunningLoop {
  const stopping = new AbortController();
  const errors: unknown[] = [];
  const logged: Record<string, unknown>[] = [];
  let ticks = 0;
  let events = 0;
  const log = createLogger({
    worker: 'test',
    destination: { write: (line: string) => void logged.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const context = {
    signal: new AbortController().signal,
    stopping: stopping.signal,
    progress: () => undefined,
    log,
  };

  async function turn(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        events += (await loop.tick(context))?.events ?? 0;
        ticks += 1;
      } catch (error) {
        errors.push(error);
        await delay(20, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  const turning = turn();
  return {
    errors,
    logged,
    get ticks(): number {
      return ticks;
    },
    get events(): number {
      return events;
    },
    async stop(): Promise<void> {
      stopping.abort();
      await turning;
      await loop.stop?.();
    },
  };
}

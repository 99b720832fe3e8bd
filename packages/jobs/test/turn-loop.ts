// Turns a loop of jobs as the loop library does, and lets a test see every turn.

import { createLogger } from '@pulsebox/loop';
import type { Logger, Loop, TickResult } from '@pulsebox/loop';

export const quiet: Logger = createLogger({ worker: 'test', level: 'silent' });

export interface TurningLoop {
  /** What ticks have returned. */
  readonly results: (TickResult | undefined)[];
  /** What ticks have thrown. */
  readonly errors: unknown[];
  /** How often progress was made in mid-tick. */
  beats(): number;
  /** Asks to stop, and waits for what is in flight. Idempotent. */
  stop(): Promise<void>;
  /** Asks to stop, and ends the drain time at once. */
  stopNow(): Promise<void>;
}

/** Starts to turn at once. */
export function turnLoop(loop: Loop, log: Logger = quiet): TurningLoop {
  const stopping = new AbortController();
  const aborting = new AbortController();
  const results: (TickResult | undefined)[] = [];
  const errors: unknown[] = [];
  let beats = 0;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let restMs = 20;
      try {
        const result = await loop.tick({
          signal: aborting.signal,
          stopping: stopping.signal,
          progress: () => (beats += 1),
          log,
        });
        results.push(result);
        // A test need not wait as long as an idle worker does.
        restMs = Math.min(20, result?.nextInMs ?? 20);
      } catch (error) {
        errors.push(error);
      }
      if (!stopping.signal.aborted) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  }
  const running = run();

  return {
    results,
    errors,
    beats: () => beats,
    async stop(): Promise<void> {
      stopping.abort();
      await running;
      await loop.stop?.();
    },
    async stopNow(): Promise<void> {
      stopping.abort();
      aborting.abort(new Error('the drain time is over'));
      await running;
      await loop.stop?.();
    },
  };
}

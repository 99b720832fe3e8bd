// Turns one loop until the worker stops: tick, count, rest; after a failure, back off.

import { createBackoff, type BackoffOptions } from './backoff.ts';
import { faultMemory } from './fault-memory.ts';
import { breathe, sleep } from './sleep.ts';
import { turn, type TurnContext } from './turn.ts';

export interface RunLoopOptions extends Omit<TurnContext, 'faults'> {
  /** One turn, then return. */
  readonly once: boolean;
  readonly backoff?: BackoffOptions;
}

/**
 * Resolves when `stopping` has aborted and the last tick has settled; with `once`, after one turn.
 * Rejects when the loop's own `rest` does: a loop that cannot rest is broken, not unlucky.
 */
export async function runLoop(options: RunLoopOptions): Promise<{ readonly failed: boolean }> {
  const { loop, clock, log, stopping, once } = options;
  const backoff = createBackoff(options.backoff);
  const faults = faultMemory();
  let failed = false;
  try {
    while (!stopping.aborted) {
      const outcome = await turn({ ...options, faults });
      failed = outcome.outcome !== 'succeeded';
      if (once || stopping.aborted) break;

      if (outcome.outcome === 'succeeded') {
        if (backoff.failures > 0) log.info({ failures: backoff.failures }, 'ticks succeed again');
        backoff.succeeded();
        faults.forget();
        clock.resting(outcome.restMs);
        if (outcome.restMs > 0) await rest(options, outcome.restMs);
      } else {
        // Not the loop's own rest: whatever wakes it early (a NOTIFY) would make a failing loop spin.
        const waitMs = backoff.failed();
        log.debug({ failures: backoff.failures, waitMs }, 'backing off');
        clock.resting(waitMs);
        await sleep(waitMs, stopping);
      }
      // A tick that never leaves the microtask queue would starve every timer, the event-loop beat among them.
      await breathe();
    }
  } finally {
    clock.ended();
  }
  return { failed };

  async function rest(context: RunLoopOptions, ms: number): Promise<void> {
    if (loop.rest === undefined) {
      await sleep(ms, stopping);
      return;
    }
    try {
      await loop.rest(ms, stopping);
    } catch (error) {
      // Many waits reject when their signal aborts; that is how they end, not a fault.
      if (!context.stopping.aborted) throw error;
    }
  }
}

// One turn of a loop: its tick, under a deadline, counted and timed.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Logger } from 'pino';
import type { FaultMemory } from './fault-memory.ts';
import type { LoopClock } from './liveness.ts';
import type { Loop, TickResult } from './loop.ts';
import { LoopError } from './loop-error.ts';
import type { LoopMetrics } from './metrics.ts';
import { LONGEST_TIMER_MS } from './sleep.ts';

const DEFAULT_DEADLINE_MS = 900_000;

export interface TurnContext {
  readonly loop: Loop;
  readonly clock: LoopClock;
  readonly metrics: LoopMetrics;
  readonly log: Logger;
  /** Aborted as soon as the worker is asked to stop. */
  readonly stopping: AbortSignal;
  /** Aborted when the drain time is over, with the error that ticks see as their signal's reason. */
  readonly aborting: AbortSignal;
  /** Of this loop's ticks: the same fault again is logged as `debug`, and once a minute as an error. */
  readonly faults: FaultMemory;
}

/** `given-up`: the tick was aborted because the drain time was over, which is no error of the loop. */
export type TurnOutcome =
  | { readonly outcome: 'succeeded'; readonly restMs: number }
  | { readonly outcome: 'failed' }
  | { readonly outcome: 'given-up' };

/** Which loop the code that runs right now belongs to, so that a stall is blamed on the right one of many. */
const turningLoop = new AsyncLocalStorage<string>();
Object.defineProperty(globalThis, Symbol.for('pulsebox.turning-loop'), {
  configurable: true,
  value: (): string | undefined => turningLoop.getStore(),
});

/** Never rejects. Returns only when the tick has settled: a loop never has two ticks at once. */
export async function turn(context: TurnContext): Promise<TurnOutcome> {
  const { loop, clock, metrics, log, stopping, aborting, faults } = context;
  const abort = new AbortController();
  const deadlineMs = loop.deadlineMs ?? DEFAULT_DEADLINE_MS;
  let late = false;

  const giveUp = (): void => {
    abort.abort(aborting.reason);
  };
  const tooLate = (): void => {
    late = true;
    const error = new LoopError(
      'LOOP_TICK_DEADLINE',
      `a tick of ${loop.name} has run longer than ${deadlineMs} ms`,
      {
        hint: 'lower the batch size, raise the deadline, or find what the tick is waiting for',
      },
    );
    metrics.failed();
    log.error({ err: error }, 'tick aborted: its deadline has passed');
    abort.abort(error);
  };
  const timer = setTimeout(tooLate, Math.min(deadlineMs, LONGEST_TIMER_MS));
  if (aborting.aborted) giveUp();
  aborting.addEventListener('abort', giveUp);

  const progress = (): void => {
    // Past its deadline a tick has no credit left: it must not pass for alive for ever by making "progress".
    if (!late) clock.progress();
  };

  clock.tickStarted();
  const startedAt = performance.now();
  try {
    const result = await turningLoop.run(loop.name, async () =>
      loop.tick({ signal: abort.signal, stopping, progress, log }),
    );
    const { events, restMs } = checked(loop, result);
    if (events > 0) metrics.handled(events, (performance.now() - startedAt) / 1_000);
    if (late) {
      clock.tickFailed();
      return { outcome: 'failed' };
    }
    clock.tickSucceeded();
    metrics.succeeded();
    return { outcome: 'succeeded', restMs };
  } catch (error) {
    clock.tickFailed();
    if (aborting.aborted) {
      log.warn('tick given up: the drain time is over');
      return { outcome: 'given-up' };
    }
    if (!late) {
      metrics.failed();
      if (faults.isNews(error)) log.error({ err: error }, 'tick failed');
      else log.debug({ err: error }, 'tick failed');
    }
    return { outcome: 'failed' };
  } finally {
    clearTimeout(timer);
    aborting.removeEventListener('abort', giveUp);
  }
}

function checked(loop: Loop, result: TickResult | undefined): { events: number; restMs: number } {
  const events = result?.events ?? 0;
  const restMs = result?.nextInMs ?? (events > 0 ? 0 : loop.cadenceMs);
  if (!Number.isSafeInteger(events) || events < 0 || !Number.isFinite(restMs) || restMs < 0) {
    throw new LoopError(
      'LOOP_TICK_RESULT_INVALID',
      `a tick of ${loop.name} returned ${JSON.stringify(result)}`,
      {
        hint: 'events is a whole number from 0 up, nextInMs a finite number of milliseconds from 0 up',
      },
    );
  }
  return { events, restMs };
}

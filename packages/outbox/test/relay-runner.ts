// Turns a relay as the loop library does, and lets a test see every turn.

import { randomUUID } from 'node:crypto';
import { createLogger } from '@pulsebox/loop';
import type { Logger, Loop } from '@pulsebox/loop';
import type { Pool } from 'pg';
import type { Batch, BatchOutcome, HandlerContext } from '../src/deliver/handler.ts';
import { relay } from '../src/relay.ts';
import type { RelayOptions } from '../src/relay.ts';
import { createWaker } from '../src/lane/waker.ts';
import type { Waker } from '../src/lane/waker.ts';
import { labelOf } from './log-reader.ts';

/** A relay's log as a test reads it: one object per line. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A log whose lines, from `info` on, stand in `lines`. */
export function recordedLog(): { readonly log: Logger; readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const log = createLogger({
    worker: 'test',
    level: 'info',
    destination: { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) },
  });
  return { log, lines };
}

export const quiet: Logger = createLogger({ worker: 'test', level: 'silent' });

export interface RunningRelay {
  readonly group: string;
  readonly loop: Loop;
  readonly waker: Waker;
  /** The labels of each batch that the handler returned from, and that the relay took for delivered. */
  readonly handled: string[][];
  /** What ticks have thrown. */
  readonly errors: unknown[];
  /** How many ticks have ended. */
  ticks(): number;
  /** How long the rest under way may last at most; 0 while a tick runs. */
  restingMs(): number;
  /** Ends the turns, then calls the loop's stop. Idempotent. */
  stop(): Promise<void>;
}

export interface RunOptions extends Partial<Omit<RelayOptions, 'handler'>> {
  readonly pool: Pool;
  /** Called before a batch counts as handled. */
  readonly handler?: (
    labels: readonly string[],
    batch: Batch,
    context: HandlerContext,
  ) => Promise<BatchOutcome | void> | BatchOutcome | void;
  /** The signal of each tick. Default: never aborted. */
  readonly tickSignal?: () => AbortSignal;
  /** Default: none. */
  readonly log?: Logger;
}

/** Starts to turn at once. Without a waker of its own it polls. */
export function runRelay(options: RunOptions): RunningRelay {
  const { handler, tickSignal = () => new AbortController().signal, log = quiet, ...given } = options;
  const group = options.group ?? `g-${randomUUID()}`;
  const waker = options.waker ?? createWaker({ connection: undefined, log: quiet });
  const handled: string[][] = [];
  const errors: unknown[] = [];
  let ticks = 0;
  let resting = 0;
  const loop = relay({
    holder: `test/${randomUUID()}`,
    pollMs: 20,
    ...given,
    group,
    waker,
    handler: async (batch, context) => {
      const labels = batch.events.map(labelOf);
      const outcome = await handler?.(labels, batch, context);
      handled.push(labels);
      return outcome ?? undefined;
    },
  });
  const stopping = new AbortController();

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let restMs = 20;
      try {
        const context = {
          signal: tickSignal(),
          stopping: stopping.signal,
          progress: () => undefined,
          log,
        };
        const result = await loop.tick(context);
        restMs = result?.nextInMs ?? 0;
      } catch (error) {
        errors.push(error);
      }
      ticks += 1;
      resting = restMs;
      if (restMs > 0) await loop.rest?.(restMs, stopping.signal);
      resting = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const running = run();

  return {
    group,
    loop,
    waker,
    handled,
    errors,
    ticks: () => ticks,
    restingMs: () => resting,
    async stop(): Promise<void> {
      stopping.abort();
      await running;
      await loop.stop?.();
    },
  };
}

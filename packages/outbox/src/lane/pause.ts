// A group whose sink is away: how long it rests until it asks again, and what it tells people meanwhile.

import type { Logger, LoopCheck } from '@pulsebox/loop';
import type { SinkError } from '../deliver/sink-error.ts';
import type { PauseNote } from './pause-note.ts';

export interface PauseOptions {
  /** The wait after the first failure, in milliseconds; it doubles from there. Default 500. */
  readonly firstMs?: number | undefined;
  /** The longest wait, unless the sink itself asks for a longer one, in milliseconds. Default 60,000. */
  readonly longestMs?: number | undefined;
  /** A number in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

export interface Pause {
  /** Milliseconds until the sink is asked again; 0: now. */
  remainingMs(): number;
  /** The sink was away: waits, longer each time in a row. Says so in the log once, when the pause begins. */
  begin(error: SinkError, log: Logger): void;
  /** The sink took something again. Says so in the log if there was a pause. */
  end(log: Logger): void;
  /** What there is to tell of the pause; undefined: there is none. */
  note(): PauseNote | undefined;
  /** The lane is another's now, and so is the question whether its sink is away. */
  forget(): void;
  /** For `/health`: never more than a warning. A sink that is away is no reason to restart a worker, or to send it no work. */
  check(): LoopCheck;
}

/** Whatever a sink asks for: a whole group must not rest for a year because of a header. */
const LONGEST_RETRY_AFTER_MS = 86_400_000;

/**
 * Doubles from `firstMs` to `longestMs`; the upper half of each wait is random, so that the groups of many pods do not
 * all ask in the instant in which a sink comes back. What the sink asked for (`Retry-After`) is the least, up to a day.
 */
export function createPause(
  group: string,
  options: PauseOptions,
  onChange: (paused: boolean) => void,
): Pause {
  const { firstMs = 500, longestMs = 60_000, random = Math.random } = options;
  let failures = 0;
  let sinceMs = 0;
  let since = '';
  let nextTry = '';
  let untilMs = 0;
  let reason: SinkError | undefined;

  const remainingMs = (): number => (failures === 0 ? 0 : Math.max(0, untilMs - performance.now()));

  return {
    remainingMs,
    begin(error, log): void {
      const ceilingMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures, 30));
      // NaN asks for nothing.
      const askedMs = Math.min(error.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS) || 0;
      const waitMs = Math.max(ceilingMs / 2 + (ceilingMs / 2) * random(), askedMs);
      const now = Date.now();
      untilMs = performance.now() + waitMs;
      nextTry = new Date(now + waitMs).toISOString();
      failures += 1;
      reason = error;
      if (failures > 1) {
        log.debug({ err: error, group, failures, waitMs: Math.round(waitMs) }, 'the sink is still away');
        return;
      }
      sinceMs = performance.now();
      since = new Date(now).toISOString();
      onChange(true);
      log.warn(
        { err: error, group, waitMs: Math.round(waitMs) },
        'the sink is away: the group pauses, and resumes by itself',
      );
    },
    end(log): void {
      if (failures === 0) return;
      const pausedForSeconds = (performance.now() - sinceMs) / 1_000;
      log.info({ group, failures, pausedForSeconds }, 'the sink is back: the group has resumed');
      failures = 0;
      onChange(false);
    },
    note: () =>
      failures === 0 || reason === undefined
        ? undefined
        : { error: reason, pausedMs: performance.now() - sinceMs, waitMs: remainingMs() },
    forget(): void {
      failures = 0;
    },
    check: () =>
      failures === 0
        ? { status: 'ok' }
        : { status: 'degraded', detail: `away since ${since}, next try at ${nextTry}` },
  };
}

// When a failed event is tried again, and when it is given up.

import type { EventFailure } from './handler.ts';

export interface RetryOptions {
  /** The wait after the first failure, in milliseconds; four times as long after each further one. Default 5,000. */
  readonly firstMs?: number | undefined;
  /** The longest wait, unless the sink itself asks for a longer one, in milliseconds. Default one hour. */
  readonly longestMs?: number | undefined;
  /** A number in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

export interface RetryPolicy extends RetryOptions {
  /** Attempts, the first delivery included, after which an event is a dead letter. */
  readonly maxAttempts: number;
}

export type Verdict = { readonly state: 'parked'; readonly waitMs: number } | { readonly state: 'dead' };

/** Whatever a sink asks for: longer is a mistake, or a dead letter by another name. */
const LONGEST_RETRY_AFTER_MS = 30 * 86_400_000;

/**
 * What becomes of an event after its `attempts`-th attempt has failed. The upper half of each wait is random, so that
 * events that failed together do not all come back together. What the sink asked for (`Retry-After`) is the least.
 */
export function verdictOn(
  failure: Pick<EventFailure, 'retryable' | 'retryAfterMs'>,
  attempts: number,
  policy: RetryPolicy,
): Verdict {
  const { maxAttempts, firstMs = 5_000, longestMs = 3_600_000, random = Math.random } = policy;
  if (!failure.retryable || attempts >= maxAttempts) return { state: 'dead' };
  const ceilingMs = Math.min(longestMs, firstMs * 4 ** Math.min(Math.max(0, attempts - 1), 15));
  const askedMs = Math.min(failure.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
  // NaN asks for nothing.
  return { state: 'parked', waitMs: Math.max(ceilingMs / 2 + (ceilingMs / 2) * random(), askedMs || 0) };
}

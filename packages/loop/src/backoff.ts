// How long a failing loop waits before it turns again.

export interface BackoffOptions {
  /** Default 100. */
  readonly firstMs?: number;
  /** Default 10_000: what comes back is at work again in less than the 30 s in which deliveries are to arrive. */
  readonly longestMs?: number;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
}

export interface Backoff {
  /** How many failures there were in a row. */
  readonly failures: number;
  /** Counts a failure and returns how long to wait, in milliseconds. */
  failed(): number;
  succeeded(): void;
}

/**
 * Doubles from `firstMs` to `longestMs`. The upper half of each wait is random ("equal jitter"), so that the pods
 * of a database that comes back do not all ask in the same instant, yet no wait is so short that it is a spin.
 */
export function createBackoff(options: BackoffOptions = {}): Backoff {
  const { firstMs = 100, longestMs = 10_000, random = Math.random } = options;
  let failures = 0;
  return {
    get failures(): number {
      return failures;
    },
    failed(): number {
      const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(failures, 30));
      failures += 1;
      return Math.round(ceiling / 2 + (ceiling / 2) * random());
    },
    succeeded(): void {
      failures = 0;
    },
  };
}

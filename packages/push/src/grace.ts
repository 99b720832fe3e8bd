// What is in flight when work has to end gets a moment to settle: a request that is cut off may have been taken, and
// is sent again by whoever comes next.

export interface Grace {
  /** Aborted a moment after the signal that was given. */
  readonly signal: AbortSignal;
  /** The work has settled. */
  end(): void;
}

/** Below the time that a stopping worker leaves its ticks to settle in. */
const GRACE_MS = 2_000;

export function graceAfter(signal: AbortSignal): Grace {
  const cut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    timer = setTimeout(() => cut.abort(signal.reason), GRACE_MS);
  };
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return {
    signal: cut.signal,
    end(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', begin);
    },
  };
}

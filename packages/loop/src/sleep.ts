// A pause that can be cut short.

/** The longest a Node timer can wait; beyond it, setTimeout fires at once. */
export const LONGEST_TIMER_MS: number = 2 ** 31 - 1;

/** Resolves after `ms`, or as soon as `signal` aborts. Never rejects and leaves no listener behind. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, LONGEST_TIMER_MS));
    signal.addEventListener('abort', done);
  });
}

/** Lets timers, sockets and the event-loop beat have their turn. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

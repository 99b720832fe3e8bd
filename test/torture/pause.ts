// Waiting that ends when the run does.

/** Waits `ms`, or until the run is over. False: it is over. */
export type Pause = (ms: number) => Promise<boolean>;

export function pauseUntil(over: AbortSignal): Pause {
  return (ms) =>
    new Promise((resolve) => {
      if (over.aborted || ms <= 0) {
        resolve(!over.aborted);
        return;
      }
      const done = (): void => {
        clearTimeout(timer);
        over.removeEventListener('abort', done);
        resolve(!over.aborted);
      };
      const timer = setTimeout(done, ms);
      over.addEventListener('abort', done);
    });
}

// Waits until something has happened, and leaves nothing behind at what it waits for: a promise that is raced against
// over and over keeps every one of its listeners, for the hours that a long job takes.

export interface Bell {
  ring(): void;
  /** Resolves when it rings, or has rung since the last wait; after `ms` (`Infinity`: never); when `signal` aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export function createBell(): Bell {
  let rung = false;
  let wake: (() => void) | undefined;

  function ring(): void {
    rung = true;
    wake?.();
  }

  return {
    ring,
    async wait(ms: number, signal: AbortSignal): Promise<void> {
      if (!rung) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.max(0, ms)) : undefined;
        // Aborted already, it has been seen: what is left is to wait for the bell.
        if (!signal.aborted) signal.addEventListener('abort', ring);
        await promise;
        clearTimeout(timer);
        signal.removeEventListener('abort', ring);
        wake = undefined;
      }
      rung = false;
    },
  };
}

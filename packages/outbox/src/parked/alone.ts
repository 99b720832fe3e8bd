// One suspect at a time in a process. An event that ends its worker takes every attempt with it that is under way in the
// same process: were events of several lanes tried at once, the marks would count the death against each of them.

/** Settles when nothing that came before is under way any more. */
let before: Promise<unknown> = Promise.resolve();

export interface AloneOptions {
  readonly signal: AbortSignal;
  /** In milliseconds. Whoever is at work for longer than that does not hold the others up. */
  readonly longestWaitMs: number;
  /** Called once a second while it waits: others are at work, so this is no stall. */
  readonly progress: () => void;
}

/** Waits for its turn, then runs the work. @throws the signal's reason while it waits; whatever `work` throws */
export async function alone<T>(
  { signal, longestWaitMs, progress }: AloneOptions,
  work: () => Promise<T>,
): Promise<T> {
  const others = before;
  const { promise: done, resolve: end } = Promise.withResolvers<void>();
  before = Promise.all([others, done]);
  try {
    await turnOf(others, { signal, longestWaitMs, progress });
    return await work();
  } finally {
    end();
  }
}

async function turnOf(
  others: Promise<unknown>,
  { signal, longestWaitMs, progress }: AloneOptions,
): Promise<void> {
  signal.throwIfAborted();
  const { promise: over, resolve, reject } = Promise.withResolvers<void>();
  const beat = setInterval(progress, 1_000);
  const limit = setTimeout(resolve, longestWaitMs);
  const abort = (): void => {
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([others, over]);
  } finally {
    clearInterval(beat);
    clearTimeout(limit);
    signal.removeEventListener('abort', abort);
  }
}

// Waits for a state that another process or a background task brings about.

export interface EventuallyOptions {
  /** How long to keep looking, in milliseconds. Generous: it only matters when the state never comes. Default 120,000. */
  readonly withinMs?: number;
  readonly everyMs?: number;
  readonly message?: string;
}

/** Calls `look` until it returns something other than undefined or false, and returns that. */
export async function eventually<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
  options: EventuallyOptions = {},
): Promise<T> {
  const deadline = performance.now() + (options.withinMs ?? 120_000);
  let lastError: unknown;
  while (performance.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 20));
  }
  throw new Error(options.message ?? 'the awaited state never came', { cause: lastError });
}

// So many at a time, and those of one subscription one after the other: messages of one browser keep their order.

/**
 * Runs `work` on every lane, `concurrency` lanes at a time, taking them from `lanes` as there is room. Stops taking more
 * when `signal` is aborted or `work` throws, waits for what is under way, and then throws what was thrown first.
 */
export async function runLanes<Lane>(
  lanes: AsyncIterator<Lane>,
  options: { readonly concurrency: number; readonly signal: AbortSignal },
  work: (lane: Lane) => Promise<void>,
): Promise<void> {
  const { concurrency, signal } = options;
  const failure: { error?: unknown; failed: boolean } = { failed: false };

  async function runner(): Promise<void> {
    while (!signal.aborted && !failure.failed) {
      try {
        const next = await lanes.next();
        if (next.done === true) return;
        await work(next.value);
      } catch (error) {
        if (!failure.failed) Object.assign(failure, { error, failed: true });
      }
    }
  }

  await Promise.all(Array.from({ length: concurrency }, runner));
  // A source that was left before its end has something to close.
  await lanes.return?.();
  if (failure.failed) throw failure.error;
}

// Waits for the first of several things, and leaves neither timer nor listener behind.

/** Resolves after `ms` (`Infinity`: never), when one of `ends` has settled, or when `signal` aborts. Never rejects. */
export async function pause(
  ms: number,
  ends: readonly Promise<unknown>[],
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.max(0, ms)) : undefined;
  const aborted = (): void => {
    resolve();
  };
  // Aborted already, it has been seen: what is left is to wait for what runs.
  if (!signal.aborted) signal.addEventListener('abort', aborted);
  for (const end of ends) end.then(aborted, aborted);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', aborted);
}

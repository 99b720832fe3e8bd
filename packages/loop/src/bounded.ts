// Waiting for a promise, but not for ever.

export type Bounded<T> = { readonly settled: true; readonly value: T } | { readonly settled: false };

/** `{ settled: false }` when `promise` has not settled after `ms`. Rejects only as `promise` does. */
export async function bounded<T>(promise: Promise<T>, ms: number): Promise<Bounded<T>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Bounded<T>>((resolve) => {
    timer = setTimeout(() => {
      resolve({ settled: false });
    }, ms);
  });
  try {
    return await Promise.race([promise.then((value): Bounded<T> => ({ settled: true, value })), late]);
  } finally {
    clearTimeout(timer);
  }
}

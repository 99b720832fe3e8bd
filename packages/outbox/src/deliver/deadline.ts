// Whether a tick was aborted because it took too long. The other reasons, a lost lease and a worker that stops, say
// nothing about the events that it was at.

/** By its code: packages/loop is known here by its types alone. */
export function isPastDeadline(signal: AbortSignal): boolean {
  const reason: unknown = signal.reason;
  return (
    signal.aborted &&
    reason instanceof Error &&
    (reason as { readonly code?: unknown }).code === 'LOOP_TICK_DEADLINE'
  );
}

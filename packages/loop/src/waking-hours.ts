// Time as the sidecar lived it. A process that was stopped (SIGSTOP, a suspended laptop, a paused virtual machine)
// finds its clocks hours old when it wakes. Those hours are nobody's stall: the sidecar slept through them too.

export interface WakingHours {
  /** To be called at every reading. Returns true when the reader has just woken from a suspension. */
  observe(nowMs: number): boolean;
  /** How long ago `sinceMs` was, suspensions left out; 0 for a time to come. */
  age(sinceMs: number): number;
}

/** A reading that comes this much later than the one before was not merely late: the process did not run. */
const SUSPENDED_AFTER_MS = 1_000;
const REMEMBERED = 32;

export function createWakingHours(startMs: number): WakingHours {
  let now = startMs;
  let suspensions: { readonly fromMs: number; readonly toMs: number }[] = [];

  return {
    observe(nowMs: number): boolean {
      const woke = nowMs - now > SUSPENDED_AFTER_MS;
      if (woke) suspensions = [...suspensions, { fromMs: now, toMs: nowMs }].slice(-REMEMBERED);
      now = Math.max(now, nowMs);
      return woke;
    },
    age(sinceMs: number): number {
      let age = now - sinceMs;
      for (const { fromMs, toMs } of suspensions) {
        if (sinceMs < toMs) age -= toMs - Math.max(fromMs, sinceMs);
      }
      return Math.max(0, age);
    },
  };
}

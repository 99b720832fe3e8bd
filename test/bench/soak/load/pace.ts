// Calls at a steady rate, whatever became of the calls before: a server that is slow is not spared.

export interface Pace {
  stop(): Promise<void>;
  /** Calls that were left out since too many were under way. */
  readonly leftOut: number;
}

const MOST_AT_ONCE = 50;
/** How often it looks whether calls are due. */
const LOOK_EVERY_MS = 20;

/** @param onFault gets what a call rejected with; the pace goes on */
export function pace(perSecond: number, call: () => Promise<void>, onFault: (error: unknown) => void): Pace {
  const startedAtMs = performance.now();
  const underWay = new Set<Promise<void>>();
  let due = 0;
  let leftOut = 0;
  const timer = setInterval(() => {
    const wanted = Math.floor(((performance.now() - startedAtMs) / 1_000) * perSecond);
    for (; due < wanted; due += 1) {
      if (underWay.size >= MOST_AT_ONCE) {
        leftOut += 1;
        continue;
      }
      const running: Promise<void> = call()
        .catch(onFault)
        .finally(() => underWay.delete(running));
      underWay.add(running);
    }
  }, LOOK_EVERY_MS);
  return {
    get leftOut(): number {
      return leftOut;
    },
    async stop(): Promise<void> {
      clearInterval(timer);
      await Promise.all(underWay);
    },
  };
}

// pg-boss's housekeeping, done beside that of the log: timers of redrives that have ended are deleted, and jobs of
// workers that died go to others. Any number of processes may do it; the work is claimed in the database.

import type { Jobs } from '@pulsebox/jobs';
import type { Loop } from '@pulsebox/loop';

const EVERY_MS = 15_000;
const BEAT_MS = 250;

/** The loop, with `jobs.maintain()` after a tick now and then. */
export function withJobsUpkeep(loop: Loop, jobs: Jobs): Loop {
  let nextAtMs = 0;
  return {
    ...loop,
    async tick(context): ReturnType<Loop['tick']> {
      const result = await loop.tick(context);
      if (performance.now() < nextAtMs) return result;
      nextAtMs = performance.now() + EVERY_MS;
      // Its statements may take minutes, and end: a database that is slow to answer is no stall of this process.
      const beat = setInterval(() => context.progress(), BEAT_MS);
      try {
        await jobs.maintain();
      } finally {
        clearInterval(beat);
      }
      return result;
    },
  };
}

// Heartbeats of all jobs that run in one loop: one query for all of them, three times in the shortest heartbeat.

import type { Logger } from '@pulsebox/loop';
import type { Claim } from './claim.ts';
import type { Jobs } from './open-jobs.ts';
import type { Queue } from './queue.ts';

export interface Heartbeats {
  add(claim: Claim, log: Logger): void;
  remove(claim: Claim): void;
}

export function createHeartbeats(jobs: Jobs, queue: Queue): Heartbeats {
  /** With the moment of its next heartbeat, in ms of `performance.now()`. */
  const claims = new Map<Claim, number>();
  let timer: NodeJS.Timeout | undefined;
  let beating = false;
  let log: Logger;

  function schedule(): void {
    clearTimeout(timer);
    const nextAtMs = Math.min(...claims.values());
    if (beating || !Number.isFinite(nextAtMs)) return;
    timer = setTimeout(() => void beat(), Math.max(0, nextAtMs - performance.now()));
  }

  async function beat(): Promise<void> {
    const asked = [...claims.keys()];
    const sentAtMs = performance.now();
    beating = true;
    try {
      const held = await jobs.heartbeat(
        queue,
        asked.map(({ job }) => job),
      );
      for (const claim of asked) {
        if (held.has(claim.job.id)) claim.renewed(sentAtMs);
        // A job whose handler has returned meanwhile may be settled already, and is nobody's loss.
        else if (claims.has(claim)) claim.refused();
      }
    } catch (error) {
      // It says nothing about the claims; each ends by its own clock if heartbeats keep failing.
      log.warn({ err: error, queue: queue.name }, 'a heartbeat of running jobs failed');
    }
    beating = false;
    for (const claim of asked) {
      if (claims.has(claim)) claims.set(claim, claim.lost ? Infinity : sentAtMs + everyMs(claim));
    }
    schedule();
  }

  return {
    add(claim: Claim, logOfTick: Logger): void {
      log = logOfTick;
      claims.set(claim, performance.now() + everyMs(claim));
      schedule();
    },
    remove(claim: Claim): void {
      claims.delete(claim);
      schedule();
    },
  };
}

function everyMs({ job }: Claim): number {
  return ((job.heartbeatSeconds ?? Infinity) * 1_000) / 3;
}

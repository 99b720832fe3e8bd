// Waits until the search group has delivered everything.

import { setTimeout as delay } from 'node:timers/promises';
import { groupStatus } from '@pulsebox/outbox';
import type { Pool } from 'pg';

/** Without any progress for this long, nobody seems to read. */
const PATIENCE_MS = 30_000;

/** @returns false when the index stopped moving before it had caught up */
export async function untilIndexed(pool: Pool, onLag: (lag: number) => void): Promise<boolean> {
  let leastLag = Number.POSITIVE_INFINITY;
  let movedAtMs = performance.now();
  while (performance.now() - movedAtMs < PATIENCE_MS) {
    const statuses = (await groupStatus(pool)).filter((status) => status.group === 'search');
    const lag = statuses.reduce((sum, status) => sum + status.lag, 0);
    if (statuses.length > 0 && lag < leastLag) {
      leastLag = lag;
      movedAtMs = performance.now();
    }
    if (statuses.length > 0 && lag === 0) return true;
    onLag(lag);
    await delay(50);
  }
  return false;
}

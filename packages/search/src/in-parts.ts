// Rows in parts of a size that the database can bear, and the few that it cannot bear even one at a time.

import { databaseSlow, tookTooLong } from './bounded-statements.ts';
import type { Pace } from './pace.ts';
import type { WriteContext } from './search-engine.ts';

export interface PartDone {
  /** Ids of the part that it left for the next one, for want of room. Fewer than the part has. */
  readonly left: readonly string[];
  /** How long the database took. */
  readonly databaseMs: number;
}

/** So many in a row, and nothing else got through: it is the database, not the rows. */
const MOST_SLOW_ALONE = 3;

/**
 * Hands `work` one part after the other. A part that takes too long is tried again by halves; a row that takes too
 * long alone is passed over, as long as others get through.
 *
 * @returns ids of rows that took too long alone
 * @throws SinkError `away` when nothing gets through, and whatever else `work` throws
 */
export async function inParts(
  ids: readonly string[],
  pace: Pace,
  { signal, progress }: Pick<WriteContext, 'signal' | 'progress'>,
  work: (part: readonly string[]) => Promise<PartDone>,
): Promise<readonly string[]> {
  const slow: string[] = [];
  let waiting = ids;
  let through = false;
  while (waiting.length > 0) {
    signal.throwIfAborted();
    const part = waiting.slice(0, pace.size);
    try {
      const { left, databaseMs } = await work(part);
      pace.took(databaseMs, part.length);
      waiting = [...left, ...waiting.slice(part.length)];
      through = true;
    } catch (error) {
      // Aborted: it may have taken longer than the lease lasts, however long that is.
      if (tookTooLong(error) || signal.aborted) pace.failed(part.length);
      if (!tookTooLong(error)) throw error;
      if (part.length > 1) continue;
      slow.push(...part);
      waiting = waiting.slice(1);
      if (!through && (slow.length === MOST_SLOW_ALONE || waiting.length === 0)) throw databaseSlow(error);
    } finally {
      progress();
    }
  }
  return slow;
}

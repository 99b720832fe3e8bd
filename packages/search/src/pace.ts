// How many rows go into one statement: as many as the database manages in about a second.

export interface Pace {
  /** At least 1. */
  readonly size: number;
  /** A statement for so many rows took so long. */
  took(ms: number, rows: number): void;
  /** A statement for so many rows was given up: the next one gets half of them. */
  failed(rows: number): void;
}

/** Long enough that a statement's fixed cost does not count, and a fifth of the time that one may take. */
const SLOW_MS = 1_000;
const QUICK_MS = 250;

/**
 * Starts with `most`; halves when a statement was slow or given up, and doubles while they are quick. It outlives the
 * batch: one that is given up for its size, whoever lost patience, comes again in smaller parts, until it gets through.
 */
export function createPace(most: number): Pace {
  let size = most;
  return {
    get size(): number {
      return size;
    },
    took(ms, rows): void {
      if (ms > SLOW_MS) size = half(rows);
      else if (ms < QUICK_MS && rows >= size) size = Math.min(most, size * 2);
    },
    failed(rows): void {
      size = half(rows);
    },
  };
}

function half(rows: number): number {
  return Math.max(1, Math.floor(rows / 2));
}

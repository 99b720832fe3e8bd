// Whether a measure stayed flat: the medians of the middle and the last third of what came after the warm-up, and the
// slope over all of it. Medians, since a neighbour on the machine has bad minutes; Theil and Sen's slope for the same
// reason: the median of the slopes between all pairs of samples (Sen, 1968).

import { median } from '../harness/statistics.ts';

/** `more` of the middle third and `slack` of the unit together are how much greater the last third may be. */
export interface Limit {
  /** A part: 0.1 is ten per cent. */
  readonly more: number;
  readonly slack: number;
}

export interface Point {
  readonly atMs: number;
  readonly value: number;
}

export interface Verdict {
  readonly middle: number;
  readonly last: number;
  readonly slopePerHour: number;
  /** Undefined: it is measured, and not judged. */
  readonly flat: boolean | undefined;
}

const HOUR_MS = 3_600_000;
/** Slopes between all pairs of more would take long, and say no more. */
const MOST_POINTS = 600;

/** @param points in the order of time, what came before the warm-up left out. Too few to compare: not flat. */
export function judge(points: readonly Point[], limit: Limit | undefined): Verdict {
  const third = Math.floor(points.length / 3);
  const middle = medianOf(points.slice(third, 2 * third));
  const last = medianOf(points.slice(2 * third));
  return {
    middle,
    last,
    slopePerHour: slopePerHour(points),
    flat: limit === undefined ? undefined : last <= middle * (1 + limit.more) + limit.slack,
  };
}

/** Units an hour; NaN of fewer than two points. */
export function slopePerHour(points: readonly Point[]): number {
  const step = Math.ceil(points.length / MOST_POINTS);
  const some = points.filter((_, n) => n % step === 0);
  const slopes = some.flatMap((one, n) =>
    some.slice(n + 1).map((other) => (other.value - one.value) / (other.atMs - one.atMs)),
  );
  return median(slopes) * HOUR_MS;
}

function medianOf(points: readonly Point[]): number {
  return median(points.map(({ value }) => value));
}

// What counts as flat: one row for each kind of measure. A sample's names are matched from the top.

import type { Limit } from './verdict.ts';

interface Measure {
  readonly name: RegExp;
  readonly unit: string;
  /** Undefined: shown, with its slope, and not judged. */
  readonly limit?: Limit;
  /** It is the same from the beginning on; what is not has to settle first, and is not judged in a short run. */
  readonly atOnce?: true;
}

/** Shorter runs show everything, and judge only what is so from the beginning, and what must not happen at all. */
const SETTLES_IN_MINUTES = 30;

/**
 * Memory and disk: 10 %, and what one page of an allocator or an index makes of little. Connections and descriptors:
 * the same number; a pool opens one more for a moment and closes it when it was idle. Times: half as much again at the
 * median and twice at the 99th percentile, since other work comes and goes on the machine.
 */
const MEASURES: readonly Measure[] = [
  { name: /^memory .* after a collection$/, unit: 'MiB', limit: { more: 0.1, slack: 2 } },
  { name: /^memory .* (?:resident|anonymous)$/, unit: 'MiB', limit: { more: 0.1, slack: 5 } },
  { name: /^memory /, unit: 'MiB' },
  { name: /^descriptors /, unit: '', limit: { more: 0, slack: 2 }, atOnce: true },
  { name: /^active resources /, unit: '', limit: { more: 0, slack: 3 }, atOnce: true },
  { name: /^connections /, unit: '', limit: { more: 0, slack: 1 }, atOnce: true },
  { name: /^disk in all$/, unit: 'MiB', limit: { more: 0.1, slack: 2 } },
  { name: /^disk outbox$/, unit: 'MiB', limit: { more: 0.1, slack: 2 } },
  { name: /^disk /, unit: 'MiB' },
  { name: /^WAL on disk$/, unit: 'MiB', limit: { more: 0.1, slack: 64 } },
  { name: /^partitions$/, unit: '', limit: { more: 0, slack: 1 } },
  { name: /^latency .* p50$/, unit: 'ms', limit: { more: 0.5, slack: 2 } },
  { name: /^latency .* p99$/, unit: 'ms', limit: { more: 1, slack: 20 } },
  { name: /^event loop soak/, unit: 'ms' },
  { name: /^event loop .* p99$/, unit: 'ms', limit: { more: 1, slack: 10 } },
  { name: /^lag /, unit: 'events', limit: { more: 1, slack: 50 } },
  { name: /^CPU seconds /, unit: 's' },
  { name: /^CPU /, unit: '% of a core', limit: { more: 0.5, slack: 2 } },
  { name: /^dead rows in all$/, unit: 'rows', limit: { more: 0.5, slack: 1_000 } },
];

/** Names of no measure are shown without a unit, and not judged. @param minutes how long the run is */
export function measureOf(name: string, minutes: number): Pick<Measure, 'unit' | 'limit'> {
  const { unit = '', limit, atOnce } = MEASURES.find((measure) => measure.name.test(name)) ?? {};
  const isJudged = atOnce === true || minutes >= SETTLES_IN_MINUTES;
  return limit === undefined || !isJudged ? { unit } : { unit, limit };
}

// What a run does how often, so that a short one goes through the same cycles as a long one.

import type { SoakOptions } from './options.ts';

export interface Plan {
  readonly durationMs: number;
  /** Before it nothing is judged: heaps, pools and tables find their size. */
  readonly warmUpMs: number;
  readonly sampleEveryMs: number;
  readonly itemsPerSecond: number;
  /** The rows that are changed, deleted and made anew. */
  readonly items: number;
  readonly pushesPerSecond: number;
  readonly users: number;
  readonly mailEveryMs: number;
  /** Messages that the mailbox has: one comes, the oldest goes. */
  readonly mails: number;
  readonly importEveryMs: number;
  readonly importRows: number;
  /** Of each partition of the log: some forty are cut and dropped in a run of an hour or more. */
  readonly partitionEvents: number;
}

const MINUTE_MS = 60_000;
const PARTITIONS = 40;
/** Partitions are dropped once a minute. */
const LEAST_PARTITION_SECONDS = 60;
/** As configuration allows it. */
const LEAST_PARTITION = 1_000;

export function planFor({ minutes, rate }: Pick<SoakOptions, 'minutes' | 'rate'>): Plan {
  const durationMs = minutes * MINUTE_MS;
  return {
    durationMs,
    warmUpMs: durationMs / 6,
    sampleEveryMs: between(durationMs / 60, 1_000, 10_000),
    itemsPerSecond: rate,
    items: 2_000,
    pushesPerSecond: rate / 35,
    users: 20,
    mailEveryMs: 5_000,
    mails: 50,
    importEveryMs: between(durationMs / 6, 20_000, 10 * MINUTE_MS),
    importRows: 2_000,
    partitionEvents: Math.max(
      LEAST_PARTITION,
      Math.round(rate * Math.max(LEAST_PARTITION_SECONDS, durationMs / 1_000 / PARTITIONS)),
    ),
  };
}

function between(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}

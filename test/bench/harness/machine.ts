// What the figures were measured on.

import { availableParallelism, loadavg, totalmem } from 'node:os';

export interface Machine {
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  /** The load before the run: above 0.5 a core, somebody else was at work. */
  readonly loadBefore: number;
}

export function describeMachine(): Machine {
  return {
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    loadBefore: loadNow(),
  };
}

/** Of the last minute. The bench itself makes some of it: two or three on most scenarios. */
export function loadNow(): number {
  return Number((loadavg()[0] ?? 0).toFixed(1));
}

// What a worker is composed of, and the faults in that which are better found at start than at night.

import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Loop } from './loop.ts';
import { LoopError } from './loop-error.ts';
import { EVENT_LOOP } from './watch.ts';

export interface WorkerOptions {
  /** Lower-case letters, digits, hyphens: the `worker` label of every metric. */
  readonly name: string;
  readonly version: string;
  /** What it was built from, for worker_build_info. Default `unknown`. */
  readonly commit?: string;
  /** The sidecar's port; 0 takes any free one. */
  readonly port: number;
  /** The variable that sets the port, to be named when the port is taken. */
  readonly portVariable?: string;
  /** The address the sidecar listens on. Default: every interface. */
  readonly host?: string;
  readonly loops: readonly Loop[];
  /** Every loop ticks exactly once, there is no sidecar, and the worker is done: 0, or 1 when a tick failed. */
  readonly once: boolean;
  readonly log: Logger;
  /** Where the metric families go. Default: a registry of the worker's own. */
  readonly registry?: Registry;
  /** A loop is stuck when it is silent for this many times its cadence (at least 1 s). 1 or more. */
  readonly stalenessMultiplier: number;
  /** How long a stopping worker lets ticks finish before it aborts them, in milliseconds. Default 45_000. */
  readonly drainMs?: number;
  /** How long an aborted tick may take to give up before it is left behind, in milliseconds. Default 2_000. */
  readonly abortGraceMs?: number;
  /** The most that a loop's `stop`, and then `close`, may take, in milliseconds each. Default 3_000. */
  readonly closeMs?: number;
  /** Called once after all loops have stopped: closes what they share, the pool for instance. */
  readonly close?: () => Promise<void>;
}

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;

/** @throws LoopError LOOP_OPTIONS_INVALID, with every fault at once */
export function checkWorkerOptions(options: WorkerOptions): void {
  const { name, loops, port, stalenessMultiplier, drainMs = 0, abortGraceMs = 0, closeMs = 0 } = options;
  const faults: string[] = [];
  const expect = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  expect(
    NAME.test(name),
    `expected the worker's name to be of letters a-z, digits and hyphens, got "${name}"`,
  );
  expect(loops.length > 0, 'expected at least one loop');
  expect(
    Number.isInteger(port) && port >= 0 && port <= 65_535,
    `expected a port from 0 to 65535, got ${port}`,
  );
  expect(
    stalenessMultiplier >= 1,
    `expected stalenessMultiplier to be 1 or more, got ${stalenessMultiplier}`,
  );
  for (const [key, ms] of Object.entries({ drainMs, abortGraceMs, closeMs })) {
    expect(Number.isFinite(ms) && ms >= 0, `expected ${key} to be 0 or more, got ${ms}`);
  }
  const seen = new Set<string>();
  for (const loop of loops) {
    expect(
      NAME.test(loop.name),
      `expected a loop's name to be of letters a-z, digits and hyphens, got "${loop.name}"`,
    );
    expect(loop.name !== EVENT_LOOP, `the name ${EVENT_LOOP} is taken by a check of our own`);
    expect(!seen.has(loop.name), `two loops have the name "${loop.name}"`);
    seen.add(loop.name);
    expect(
      Number.isFinite(loop.cadenceMs) && loop.cadenceMs > 0,
      `expected cadenceMs of the loop ${loop.name} to be a positive number, got ${loop.cadenceMs}`,
    );
    expect(
      loop.deadlineMs === undefined || loop.deadlineMs > 0,
      `expected deadlineMs of the loop ${loop.name} to be a positive number, got ${loop.deadlineMs}`,
    );
  }
  if (faults.length > 0)
    throw new LoopError('LOOP_OPTIONS_INVALID', `this worker cannot be run: ${faults.join('; ')}`);
}

// What an event does to the handler that gets it: most do nothing, some are refused, and a few end their worker.

import type { Random } from './random.ts';

/**
 * `report`: the handler reports it as failed. `throw`: the handler throws for the whole call it is in. `hang`: the
 * handler does not return before its deadline. `kill`: the process ends by SIGKILL.
 */
export type TrialKind = 'report' | 'throw' | 'hang' | 'kill';

/** Part of the event's payload. The sink of one group is tried, and the others take the event like any other. */
export interface Trial {
  readonly kind: TrialKind;
  readonly group: string;
  /** How many attempts fail before one passes. Null: all of them, for good. */
  readonly times: number | null;
  /** False: the sink says that the same would fail again. */
  readonly retryable: boolean;
  /** A hanging handler that goes on writing after its abort. */
  readonly heedless: boolean;
}

/** Who tries whom, and how often. */
export interface TrialOptions {
  readonly groups: readonly string[];
  /** The share of events that are refused, from 0 to 1. */
  readonly failing: number;
}

/** Of the refused ones: the rest pass in the end. */
const POISON = 0.25;
const THROWN = 0.35;

/** Undefined: the event is good, as nearly all are. */
export function drawTrial({ groups, failing }: TrialOptions, random: Random): Trial | undefined {
  if (failing === 0 || !random.chance(failing)) return undefined;
  const poison = random.chance(POISON);
  return {
    kind: random.chance(THROWN) ? 'throw' : 'report',
    group: random.pick(groups),
    times: poison ? null : random.integer(1, 2),
    retryable: !poison || random.chance(0.5),
    heedless: false,
  };
}

/** A poison event for the last few of very many of one key: what is behind it waits until it is discarded. */
export function poisonFor(group: string): Trial {
  return { kind: 'report', group, times: null, retryable: true, heedless: false };
}

/** Costs a worker its deadline, or its life, so often. */
export function deadlyTrial(kind: 'hang' | 'kill', group: string, times: number | null): Trial {
  // What is delivered and yet fails for good would be a dead letter that the sink has.
  return {
    kind,
    group,
    times,
    retryable: true,
    heedless: kind === 'hang' && times !== null && times % 2 === 0,
  };
}

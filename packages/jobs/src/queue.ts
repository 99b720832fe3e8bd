// What a queue is: its name, the type of its jobs' data, and how they are tried.

import { JobsError } from './jobs-error.ts';

/**
 * How many jobs of one key there may be; jobs without a key count as jobs of one.
 * `standard`: any number. `short`: one that waits, any number that run. `exclusive`: one that waits or runs.
 */
export type QueuePolicy = 'standard' | 'short' | 'exclusive';

/** Times are in whole seconds, as pg-boss keeps them. */
export interface QueueOptions {
  /** Cannot be changed once the queue exists. Default `standard`. */
  readonly policy?: QueuePolicy;
  /** How often a job is tried before it has failed for good. Default 5. */
  readonly attempts?: number;
  /** The wait before the second attempt; it doubles with each, with jitter. Default 1. */
  readonly retryDelaySeconds?: number;
  /** The longest wait between two attempts. Default 3,600. */
  readonly retryDelayMaxSeconds?: number;
  /** How long one attempt may take; up to 24 hours. Default 900. */
  readonly timeoutSeconds?: number;
  /** A job whose worker has not been heard of for so long is given to another one; 10 or more. Default 30. */
  readonly heartbeatSeconds?: number;
  /** How long a finished or failed job is kept, for people. Default 7 days. */
  readonly keepFinishedSeconds?: number;
  /** How long a job may wait to be run until it is deleted. Default 365 days. */
  readonly keepWaitingSeconds?: number;
}

declare const dataOf: unique symbol;

/** `Data` is the type of what a job carries; it must survive JSON. */
export interface Queue<Data extends object = object> extends Required<QueueOptions> {
  readonly name: string;
  readonly [dataOf]?: Data;
}

const DAY_SECONDS = 86_400;
const YEAR_SECONDS = 365 * DAY_SECONDS;

/** Room for a consumer group of the longest name, and what stands around it. */
const LONGEST_NAME = 100;

const DEFAULTS: Required<QueueOptions> = {
  policy: 'standard',
  attempts: 5,
  retryDelaySeconds: 1,
  retryDelayMaxSeconds: 3_600,
  timeoutSeconds: 900,
  heartbeatSeconds: 30,
  keepFinishedSeconds: 7 * DAY_SECONDS,
  keepWaitingSeconds: YEAR_SECONDS,
};

type Limits = Readonly<Record<Exclude<keyof QueueOptions, 'policy'>, readonly [number, number]>>;

/** What pg-boss takes, and where it would take more, what makes sense. */
const LIMITS: Limits = {
  attempts: [1, 1_000],
  retryDelaySeconds: [1, DAY_SECONDS],
  retryDelayMaxSeconds: [1, YEAR_SECONDS],
  timeoutSeconds: [1, DAY_SECONDS],
  heartbeatSeconds: [10, DAY_SECONDS],
  keepFinishedSeconds: [1, YEAR_SECONDS],
  keepWaitingSeconds: [60, YEAR_SECONDS],
};

const POLICIES: readonly string[] = ['standard', 'short', 'exclusive'] satisfies QueuePolicy[];

/** A constant of the capability that the queue belongs to; asks the database nothing. @throws JOBS_QUEUE_INVALID */
export function defineQueue<Data extends object>(name: string, options: QueueOptions = {}): Queue<Data> {
  if (!/^[a-z][a-z0-9-]*(?:\/[a-z0-9-]+)*$/.test(name) || name.length > LONGEST_NAME) {
    throw invalid(
      `expected a queue's name, got ${JSON.stringify(name)}`,
      `lower-case letters, digits, hyphens and single slashes, a letter first, ${LONGEST_NAME} at most`,
    );
  }
  const queue = { name, ...DEFAULTS, ...options };
  if (!POLICIES.includes(queue.policy)) {
    throw invalid(
      `expected the policy of ${name} to be one of ${POLICIES.join(', ')}, got ${JSON.stringify(queue.policy)}`,
      'the README says which policy suits what',
    );
  }
  for (const [option, [least, most]] of Object.entries(LIMITS) as [
    keyof Limits,
    readonly [number, number],
  ][]) {
    const value: unknown = queue[option];
    if (Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most) continue;
    throw invalid(
      `expected ${option} of ${name} to be a whole number from ${least} to ${most}, got ${String(value)}`,
      'times are in seconds',
    );
  }
  return queue;
}

function invalid(message: string, hint: string): JobsError {
  return new JobsError('JOBS_QUEUE_INVALID', message, { hint });
}

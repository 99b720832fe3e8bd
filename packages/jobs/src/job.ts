// A job as it was fetched: what it carries, and which attempt of it this is.

import type { JobWithMetadata } from 'pg-boss';
import { splitTrace } from './job-trace.ts';
import type { JobTrace } from './job-trace.ts';

export interface Job<Data extends object = object> {
  readonly id: string;
  readonly queue: string;
  readonly data: Data;
  /** The key it was sent with. */
  readonly key: string | undefined;
  /** 1 for the first. It also tells this attempt from any other: the mark that a zombie's writes are known by. */
  readonly attempt: number;
  /** How many attempts are left after this one. */
  readonly attemptsLeft: number;
  readonly createdAt: Date;
  /** How long this attempt may take, in seconds. */
  readonly timeoutSeconds: number;
  readonly heartbeatSeconds: number | undefined;
  /** Of whoever sent it. */
  readonly trace?: JobTrace | undefined;
}

/** A job, or what is left of one that has been stored: enough to know the attempt by. */
export type Attempt = Pick<Job, 'id' | 'queue' | 'attempt'>;

export function jobOf<Data extends object>(row: JobWithMetadata<Data>): Job<Data> {
  const { data, trace } = splitTrace(row.data);
  return {
    id: row.id,
    queue: row.name,
    data,
    key: row.singletonKey ?? undefined,
    attempt: row.retryCount + 1,
    attemptsLeft: Math.max(0, row.retryLimit - row.retryCount),
    createdAt: row.createdOn,
    timeoutSeconds: row.expireInSeconds,
    heartbeatSeconds: row.heartbeatSeconds ?? undefined,
    ...(trace === undefined ? {} : { trace }),
  };
}

/** How pg-boss knows an attempt; given an id alone it would also settle somebody else's. */
export function fenced(attempt: Attempt): { id: string; retryCount: number } {
  return { id: attempt.id, retryCount: attempt.attempt - 1 };
}

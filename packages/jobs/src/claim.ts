// The right to work on a job: kept up by heartbeats, and given up, on our own clock, before anybody else can have it.

import type { Job } from './job.ts';
import { JobsError } from './jobs-error.ts';

export interface Claim {
  readonly job: Job;
  /** Aborted when the claim is over, with the reason. */
  readonly signal: AbortSignal;
  /** Whether somebody else has the job by now, or may have. */
  readonly lost: boolean;
  /** Ours for so long yet, without another heartbeat, in milliseconds. */
  remainingMs(): number;
  /** A heartbeat that was sent at `sentAtMs` of `performance.now()` was taken. */
  renewed(sentAtMs: number): void;
  /** A heartbeat was refused: the job was given to another worker, or has ended. */
  refused(): void;
  /** Ends the handler's work for a reason of the worker's own. */
  abort(reason: unknown): void;
  /** The handler has returned: no clock runs any more. */
  close(): void;
}

const MS = 1_000;

/** `fetchedAtMs`: before the job was asked for, so that every deadline here ends before the database's does. */
export function createClaim(job: Job, fetchedAtMs: number): Claim {
  const abort = new AbortController();
  const heartbeatMs = job.heartbeatSeconds === undefined ? Infinity : job.heartbeatSeconds * MS;
  let heldUntilMs = fetchedAtMs + heartbeatMs;
  let lost = false;

  const lose = (message: string): void => {
    lost = true;
    const error = new JobsError('JOBS_HEARTBEAT_LOST', `the job ${job.id} of ${job.queue} ${message}`, {
      hint: 'the handler was told to stop; another worker runs the job again',
    });
    abort.abort(error);
  };
  const timeout = setTimeout(
    () => {
      const error = new JobsError(
        'JOBS_JOB_TIMEOUT',
        `the job ${job.id} of ${job.queue} ran longer than ${job.timeoutSeconds} s`,
        { hint: 'raise timeoutSeconds of the queue, or give long jobs back and go on in a new attempt' },
      );
      abort.abort(error);
    },
    Math.max(0, fetchedAtMs + job.timeoutSeconds * MS - performance.now()),
  );
  let loss = expireIn(heldUntilMs);

  function expireIn(atMs: number): NodeJS.Timeout | undefined {
    if (!Number.isFinite(atMs)) return undefined;
    return setTimeout(
      () => {
        lose(`was not heard of for ${job.heartbeatSeconds} s`);
      },
      Math.max(0, atMs - performance.now()),
    );
  }

  return {
    job,
    signal: abort.signal,
    get lost(): boolean {
      return lost;
    },
    remainingMs: () => heldUntilMs - performance.now(),
    renewed(sentAtMs: number): void {
      if (lost) return;
      heldUntilMs = sentAtMs + heartbeatMs;
      clearTimeout(loss);
      loss = expireIn(heldUntilMs);
    },
    refused(): void {
      lose('is not ours any more');
    },
    abort(reason: unknown): void {
      abort.abort(reason);
    },
    close(): void {
      clearTimeout(timeout);
      clearTimeout(loss);
    },
  };
}

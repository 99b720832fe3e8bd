// What runs a job: given it and its context, does the work, and says how it ended.

import type { Logger } from '@pulsebox/loop';
import type { Job } from './job.ts';

export interface JobContext {
  /**
   * Aborted when the job has taken too long, was given to another worker, or the drain time of a stopping worker is
   * over. A handler that throws then has its job given back, or tried again.
   */
  readonly signal: AbortSignal;
  /** Aborted as soon as the worker is asked to stop: finish, or come to a good place and return `unfinished`. */
  readonly stopping: AbortSignal;
  /** A job that takes longer than the loop's cadence calls this as it gets on; else the worker counts as stuck. */
  progress(): void;
  readonly log: Logger;
}

/** How an attempt ended, as its handler says. Nothing returned is `completed`; throwing is `failed`. */
export type JobOutcome =
  | { readonly outcome: 'completed'; readonly output?: object }
  | {
      readonly outcome: 'failed';
      /** Kept with the job. */
      readonly error: unknown;
      /** Instead of the queue's backoff. */
      readonly retryInSeconds?: number;
      /** `false`: for good, whatever attempts are left. */
      readonly retry?: boolean;
    }
  /** Put back, to be run again at once by whoever is there; takes no attempt from the job. */
  | { readonly outcome: 'unfinished' }
  /** The handler has completed or failed the job itself, for instance in the transaction of its own writes. */
  | { readonly outcome: 'settled' };

export type JobHandler<Data extends object> = (
  job: Job<Data>,
  context: JobContext,
) => Promise<JobOutcome | undefined | void>;

/**
 * How an attempt ended in the end. `lost`: another worker has the job, nothing was written; `unwritten`: the database
 * could not be told for so long that another worker will get it.
 */
export type JobEnd = 'completed' | 'failed' | 'unfinished' | 'settled' | 'lost' | 'unwritten';

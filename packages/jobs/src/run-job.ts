// Runs one attempt of a job: the handler, then the word to the database of how it ended.

import type { Logger } from '@pulsebox/loop';
import pg from 'pg';
import type { Claim } from './claim.ts';
import type { JobEnd, JobHandler, JobOutcome } from './job-handler.ts';
import { inJobSpan } from './job-span.ts';
import type { Job } from './job.ts';
import { JobsError } from './jobs-error.ts';
import type { Jobs } from './open-jobs.ts';

export interface RunJobOptions<Data extends object> {
  readonly jobs: Jobs;
  readonly job: Job<Data>;
  readonly claim: Claim;
  readonly handler: JobHandler<Data>;
  /** Aborted when the drain time of a stopping worker is over. */
  readonly drained: AbortSignal;
  readonly stopping: AbortSignal;
  readonly progress: () => void;
  readonly log: Logger;
  /** The handler has returned: heartbeats must not take what comes now for a loss. */
  readonly onReturned: () => void;
}

/** How long to wait before the database is told again, in milliseconds. */
const WRITE_AGAIN_MS = 500;

/** Never rejects. */
export async function runJob<Data extends object>(options: RunJobOptions<Data>): Promise<JobEnd> {
  const { claim, drained, log, job } = options;
  const giveUp = (): void => {
    claim.abort(drained.reason);
  };
  if (drained.aborted) giveUp();
  drained.addEventListener('abort', giveUp);
  const outcome = await handle(options);
  drained.removeEventListener('abort', giveUp);
  options.onReturned();
  try {
    if (outcome.outcome === 'settled') return 'settled';
    if (claim.lost) {
      log.warn(
        { job: job.id, attempt: job.attempt },
        'lost a job to another worker; its end was not written',
      );
      return 'lost';
    }
    const end = await write(options, outcome);
    if (end === 'failed' && outcome.outcome === 'failed') {
      log.warn({ job: job.id, attempt: job.attempt, err: outcome.error }, 'a job failed');
    } else if (end === 'lost') {
      log.warn(
        { job: job.id, attempt: job.attempt },
        'a job ended that is not ours any more; nothing was written',
      );
    }
    return end;
  } finally {
    claim.close();
  }
}

async function handle<Data extends object>(options: RunJobOptions<Data>): Promise<JobOutcome> {
  const { handler, job, claim, stopping, progress, log, drained } = options;
  try {
    const context = {
      signal: claim.signal,
      stopping,
      progress: () => {
        // Past its end an attempt has no credit left: it must not keep its worker alive by making "progress".
        if (!claim.signal.aborted) progress();
      },
      log,
    };
    const outcome = await inJobSpan(job, async () => handler(job, context));
    return outcome ?? { outcome: 'completed' };
  } catch (error) {
    if (drained.aborted) return { outcome: 'unfinished' };
    const timedOut =
      claim.signal.reason instanceof JobsError && claim.signal.reason.code === 'JOBS_JOB_TIMEOUT';
    return { outcome: 'failed', error: timedOut ? claim.signal.reason : error };
  }
}

/** Work that is done must not be done again for a database that is away for a moment: told until the claim is over. */
async function write<Data extends object>(
  options: RunJobOptions<Data>,
  outcome: Exclude<JobOutcome, { outcome: 'settled' }>,
): Promise<JobEnd> {
  const { claim, job, log, drained } = options;
  for (;;) {
    try {
      return await tell(options, outcome);
    } catch (error) {
      if (isRefused(error)) return await write(options, { outcome: 'failed', error });
      if (drained.aborted || claim.remainingMs() < 2 * WRITE_AGAIN_MS) {
        log.error(
          { job: job.id, attempt: job.attempt, err: error, outcome: outcome.outcome },
          'the end of a job could not be written; it will be run again',
        );
        return 'unwritten';
      }
      log.warn({ job: job.id, err: error }, 'the end of a job could not be written yet');
      await new Promise((resolve) => {
        setTimeout(resolve, WRITE_AGAIN_MS);
      });
    }
  }
}

/** What will never be written, however often it is tried: an output that jsonb refuses, a wait that is no number. */
function isRefused(error: unknown): boolean {
  if (error instanceof JobsError) return error.code === 'JOBS_JOB_INVALID';
  return (
    error instanceof TypeError || (error instanceof pg.DatabaseError && error.code?.startsWith('22') === true)
  );
}

async function tell<Data extends object>(
  { jobs, job }: RunJobOptions<Data>,
  outcome: Exclude<JobOutcome, { outcome: 'settled' }>,
): Promise<JobEnd> {
  if (outcome.outcome === 'completed') {
    const { output } = outcome;
    const { completed } = await jobs.complete(job, output === undefined ? {} : { output });
    return completed ? 'completed' : 'lost';
  }
  if (outcome.outcome === 'failed') {
    const { outcome: _, error, ...options } = outcome;
    const { failed } = await jobs.fail(job, error, options);
    return failed ? 'failed' : 'lost';
  }
  const { givenBack } = await jobs.giveBack(job);
  return givenBack ? 'unfinished' : 'lost';
}

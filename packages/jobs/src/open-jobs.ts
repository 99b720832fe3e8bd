// Jobs: what a process needs to send them, run them, and keep their house.

import type { Logger } from '@pulsebox/loop';
import type { Pool } from 'pg';
import { createBoss } from './boss.ts';
import { patiently, throughClient, throughTransactions } from './database.ts';
import { ensureQueue } from './ensure-queue.ts';
import type { Attempt, Job } from './job.ts';
import { jobOf } from './job.ts';
import { JobsError } from './jobs-error.ts';
import type { Queue } from './queue.ts';
import type { Schedule, ScheduleOptions } from './schedules.ts';
import { schedule, schedulesOf, unschedule } from './schedules.ts';
import type { ScheduleRun } from './schedule-runs.ts';
import { scheduleRuns } from './schedule-runs.ts';
import type { JobToSend, SendOptions, Sent } from './send.ts';
import { send } from './send.ts';
import type { Completion, CompleteOptions, FailOptions, Failure, GiveBack, Joining } from './settle.ts';
import { complete, completeAll, fail, giveBack, heartbeat } from './settle.ts';

export interface OpenJobsOptions {
  /** May be behind PgBouncer in transaction mode: nothing here needs a session. */
  readonly pool: Pool;
  readonly log: Logger;
  /** Sends what is scheduled: one query every 30 seconds and one every 5. Default `false`. */
  readonly schedules?: boolean;
  /** How often at most `maintain` looks for jobs whose workers have died, in seconds. Default 15. */
  readonly crashCheckSeconds?: number;
}

export interface FetchOptions extends Joining {
  /** Default 1. */
  readonly batchSize?: number;
}

export interface Jobs {
  /** Starts what the first use would start. @throws JOBS_SCHEMA_*, JOBS_PRIVILEGE_MISSING, JOBS_STOPPED */
  ready(): Promise<void>;
  /** Makes the queue, or brings its options up to date; idempotent. @throws JOBS_QUEUE_POLICY */
  ensureQueue(queue: Queue): Promise<void>;
  /** @throws JOBS_JOB_INVALID, JOBS_QUEUE_UNKNOWN */
  send<Data extends object>(queue: Queue<Data>, data: Data, options?: SendOptions & Joining): Promise<Sent>;
  /** One statement; the answers are in the order of the jobs. @throws JOBS_JOB_INVALID, JOBS_QUEUE_UNKNOWN */
  sendAll<Data extends object>(
    queue: Queue<Data>,
    jobs: readonly JobToSend<Data>[],
    options?: Joining,
  ): Promise<readonly Sent[]>;
  /** Takes jobs that are due, the greatest priority and the oldest first. Whoever takes one settles it. */
  fetch<Data extends object>(queue: Queue<Data>, options?: FetchOptions): Promise<readonly Job<Data>[]>;
  complete(job: Attempt, options?: CompleteOptions): Promise<Completion>;
  /** Result: the ids of the jobs that were completed. The others are not their caller's any more. */
  completeAll(queue: Queue, jobs: readonly Attempt[], options?: Joining): Promise<ReadonlySet<string>>;
  /** Keeps the error with the job, which is tried again while it has attempts left. */
  fail(job: Attempt, error: unknown, options?: FailOptions): Promise<Failure>;
  /** Puts an unfinished job back, at once and without taking an attempt from it. */
  giveBack(job: Attempt, options?: Joining): Promise<GiveBack>;
  /** Result: the ids of the jobs that are still their callers'. The others were given to somebody else. */
  heartbeat(queue: Queue, jobs: readonly Attempt[]): Promise<ReadonlySet<string>>;
  /** @throws JOBS_SCHEDULE_INVALID, JOBS_QUEUE_UNKNOWN */
  schedule<Data extends object>(queue: Queue<Data>, data: Data, options: ScheduleOptions): Promise<void>;
  unschedule(queue: Queue, key?: string): Promise<void>;
  schedules<Data extends object>(queue: Queue<Data>): Promise<readonly Schedule<Data>[]>;
  /** All schedules of the database, with when each last ran to its end. */
  scheduleRuns(): Promise<readonly ScheduleRun[]>;
  /**
   * Gives the jobs of dead workers to others, ends attempts that took too long, deletes old jobs. Call it every few
   * seconds in one process; more of them do no harm, since the work is claimed in the database.
   */
  maintain(): Promise<void>;
  /** Waits for what is in flight, handlers of job loops included. The pool stays open. Idempotent. */
  stop(): Promise<void>;
}

/** Handlers that run, by the jobs they were opened with: `stop` waits for them. */
const handlers = new WeakMap<Jobs, Set<Promise<unknown>>>();

/** For the loop that runs jobs. */
export function waitForAtStop(jobs: Jobs, handling: Promise<unknown>): void {
  const running = handlers.get(jobs);
  if (running === undefined) return;
  running.add(handling);
  const forget = (): void => {
    running.delete(handling);
  };
  handling.then(forget, forget);
}

/** Asks the database nothing until it is used: a worker that starts before its database waits for it. */
export function openJobs(options: OpenJobsOptions): Jobs {
  const { pool, log, schedules = false, crashCheckSeconds = 15 } = options;
  if (!Number.isSafeInteger(crashCheckSeconds) || crashCheckSeconds < 1) {
    throw new JobsError(
      'JOBS_QUEUE_INVALID',
      `expected crashCheckSeconds to be a whole number from 1 up, got ${crashCheckSeconds}`,
      { hint: 'leave it out for 15' },
    );
  }
  const boss = createBoss({ pool, log, schedules, crashCheckSeconds });
  const running = new Set<Promise<unknown>>();
  const jobs: Jobs = {
    async ready() {
      await boss.use(async () => undefined);
    },
    ensureQueue: async (queue) => ensureQueue(boss, queue),
    async send(queue, data, { client, ...sendOptions } = {}) {
      const [sent] = await send(boss, queue, [{ ...sendOptions, data }], client);
      return sent ?? { sent: false, reason: 'duplicate' };
    },
    sendAll: async (queue, jobsToSend, { client } = {}) => send(boss, queue, jobsToSend, client),
    async fetch<Data extends object>(queue: Queue<Data>, { client, batchSize = 1 }: FetchOptions = {}) {
      const rows = await boss.use(async (pgboss) =>
        pgboss.fetch<Data>(queue.name, {
          batchSize,
          includeMetadata: true,
          db: client === undefined ? throughTransactions(pool) : throughClient(client),
        }),
      );
      // The statement that takes them returns them in no order.
      return rows
        .toSorted((a, b) => b.priority - a.priority || a.createdOn.getTime() - b.createdOn.getTime())
        .map(jobOf);
    },
    complete: async (job, completeOptions = {}) => complete(boss, job, completeOptions),
    completeAll: async (queue, attempts, joining = {}) => completeAll(boss, queue.name, attempts, joining),
    fail: async (job, error, failOptions = {}) => fail(boss, pool, job, { ...failOptions, error }),
    giveBack: async (job, joining = {}) => giveBack(boss, pool, job, joining),
    heartbeat: async (queue, attempts) => heartbeat(boss, queue.name, attempts),
    schedule: async (queue, data, scheduleOptions) => schedule(boss, queue, data, scheduleOptions),
    unschedule: async (queue, key) => unschedule(boss, queue, key),
    schedules: async (queue) => schedulesOf(boss, queue),
    scheduleRuns: async () => scheduleRuns(boss, pool),
    async maintain() {
      await boss.use(async (pgboss) => patiently(async () => pgboss.supervise()));
    },
    async stop() {
      await Promise.allSettled(running);
      await boss.stop();
    },
  };
  handlers.set(jobs, running);
  return jobs;
}

// A loop that runs the jobs of one queue. While a job is in flight its loop is inside a tick, so that a worker that
// stops waits for it.

import type { Loop, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import { createBell } from './bell.ts';
import { createClaim } from './claim.ts';
import { createHeartbeats } from './heartbeats.ts';
import type { JobEnd, JobHandler } from './job-handler.ts';
import type { Job } from './job.ts';
import { JobsError } from './jobs-error.ts';
import type { Jobs } from './open-jobs.ts';
import { waitForAtStop } from './open-jobs.ts';
import type { Queue } from './queue.ts';
import { runJob } from './run-job.ts';

export interface JobLoopOptions<Data extends object> {
  readonly jobs: Jobs;
  /** Made, or brought up to date, before the first job is taken. */
  readonly queue: Queue<Data>;
  readonly handler: JobHandler<Data>;
  /** The loop's name. Default: the queue's. */
  readonly name?: string;
  /** How many jobs run at once. Default 1. */
  readonly concurrency?: number;
  /** How long an idle loop rests between two polls, one short transaction each, in milliseconds. Default 2,000. */
  readonly pollMs?: number;
  /** A job that shows no progress for a multiple of this makes the worker count as stuck, in ms. Default 20,000, 5,000 or more. */
  readonly cadenceMs?: number;
  /** Told of every attempt that has ended, for metrics. Must not throw. */
  readonly onEnd?: (end: { readonly queue: string; readonly end: JobEnd; readonly seconds: number }) => void;
}

/** Slots that stand free beside a job that has run for so long are filled in the same tick. */
const LONG_JOB_MS = 5_000;
/** So that a database which answers nothing, for as long as one is waited for, makes no loop stuck. */
const SHORTEST_CADENCE_MS = 5_000;
/** Jobs have deadlines of their own; a tick of theirs has the longest that a timer can have. */
const TICK_DEADLINE_MS = 2 ** 31 - 1;
/** After this no slot is filled again in the same tick, so that it ends before its deadline. */
const LONGEST_REFILL_MS = 86_400_000;

export function jobLoop<Data extends object>(options: JobLoopOptions<Data>): Loop {
  const { jobs, queue, handler, concurrency = 1, pollMs = 2_000, onEnd } = options;
  const cadenceMs = options.cadenceMs ?? Math.max(20_000, pollMs);
  atLeast(1, queue, 'concurrency', concurrency);
  atLeast(1, queue, 'pollMs', pollMs);
  atLeast(SHORTEST_CADENCE_MS, queue, 'cadenceMs', cadenceMs);
  let ensured = false;
  let failuresInARow = 0;
  const heartbeats = createHeartbeats(jobs, queue);

  async function tick(context: TickContext): Promise<TickResult> {
    if (!ensured) await jobs.ensureQueue(queue);
    ensured = true;
    const startedAtMs = performance.now();
    /** With the moment since which each runs, in ms of `performance.now()`. */
    const running = new Map<Job<Data>, number>();
    const bell = createBell();
    let ended = 0;
    let unwritten = 0;
    let pollAtMs = Infinity;

    async function take(): Promise<void> {
      const fetchedAtMs = performance.now();
      const free = concurrency - running.size;
      const found = await jobs.fetch(queue, { batchSize: free });
      pollAtMs = found.length === free ? fetchedAtMs : fetchedAtMs + pollMs;
      // Asked to stop meanwhile: nothing new is begun, and what was taken is left to others.
      if (context.stopping.aborted) await Promise.all(found.map(async (job) => jobs.giveBack(job)));
      else for (const job of found) void run(job, fetchedAtMs);
    }

    async function run(job: Job<Data>, fetchedAtMs: number): Promise<void> {
      running.set(job, fetchedAtMs);
      const claim = createClaim(job, fetchedAtMs);
      heartbeats.add(claim, context.log);
      const handling = runJob({
        jobs,
        job,
        claim,
        handler,
        drained: context.signal,
        stopping: context.stopping,
        progress: context.progress,
        log: context.log,
        onReturned: () => {
          heartbeats.remove(claim);
        },
      });
      waitForAtStop(jobs, handling);
      const end = await handling;
      running.delete(job);
      bell.ring();
      context.progress();
      if (end === 'completed' || end === 'failed' || end === 'settled') ended += 1;
      if (end === 'unwritten') unwritten += 1;
      if (end === 'failed') failuresInARow += 1;
      else if (end === 'completed') failuresInARow = 0;
      onEnd?.({ queue: queue.name, end, seconds: (performance.now() - fetchedAtMs) / 1_000 });
    }

    /** When free slots are to be filled beside what runs, in ms of `performance.now()`. */
    function refillAtMs(): number {
      if (running.size >= concurrency || context.stopping.aborted) return Infinity;
      if (performance.now() - startedAtMs > LONGEST_REFILL_MS) return Infinity;
      return Math.max(Math.min(...running.values()) + LONG_JOB_MS, pollAtMs);
    }

    await take();
    if (running.size === 0) return { events: 0, nextInMs: pollMs };
    while (running.size > 0) {
      await bell.wait(refillAtMs() - performance.now(), context.stopping);
      if (refillAtMs() <= performance.now()) {
        await take().catch((error: unknown) => {
          pollAtMs = performance.now() + pollMs;
          context.log.warn({ err: error }, 'no jobs could be fetched beside those that run');
        });
      }
    }
    if (unwritten > 0) {
      throw new JobsError(
        'JOBS_END_UNWRITTEN',
        `the end of ${unwritten} job(s) of ${queue.name} could not be written`,
        { hint: 'the database was away for longer than a heartbeat; the jobs will be run again' },
      );
    }
    return { events: ended, nextInMs: 0 };
  }

  return {
    name: options.name ?? queue.name,
    cadenceMs,
    deadlineMs: TICK_DEADLINE_MS,
    tick,
    checks: (): Readonly<Record<string, LoopCheck>> => ({
      jobs:
        failuresInARow === 0
          ? { status: 'ok' }
          : { status: 'degraded', detail: `the last ${failuresInARow} job(s) of ${queue.name} failed` },
    }),
  };
}

function atLeast(least: number, queue: Queue, option: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new JobsError(
    'JOBS_QUEUE_INVALID',
    `expected ${option} of the loop of ${queue.name} to be a whole number from ${least} up, got ${value}`,
    { hint: 'leave it out for the default' },
  );
}

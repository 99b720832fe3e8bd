// Upkeep by the clock: scheduled jobs, so that one process does each, and a watch over all schedules of the database.

import { defineQueue, jobLoop } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import type { Logger, Loop } from '@pulsebox/loop';
import { boundedQueries } from '@pulsebox/outbox';
import { candidacy } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { UpkeepMetrics } from './upkeep-metrics.ts';
import type { UpkeepTask } from './upkeep-tasks.ts';

interface UpkeepJob {
  readonly task: string;
}

/** A run that fails is not tried again before its time: the next one finds all that it left. */
export const upkeepQueue: ReturnType<typeof defineQueue<UpkeepJob>> = defineQueue<UpkeepJob>('upkeep', {
  attempts: 1,
});

export interface UpkeepOptions {
  /** Opened with `schedules: true`. */
  readonly jobs: Jobs;
  readonly tasks: readonly UpkeepTask[];
  readonly metrics: UpkeepMetrics;
  readonly log: Logger;
  /** How long an idle loop rests between two looks for a job, in milliseconds. Default 5,000. */
  readonly pollMs?: number;
}

/** The loop that runs what is due, in whichever process gets the job. */
export function upkeep({ jobs, tasks, metrics, log, pollMs = 5_000 }: UpkeepOptions): Loop {
  for (const { name: task } of tasks) {
    for (const outcome of ['completed', 'failed']) metrics.runs.inc({ task, outcome }, 0);
    metrics.removed.inc({ task }, 0);
  }
  let isScheduled = false;
  const loop = jobLoop({
    jobs,
    queue: upkeepQueue,
    pollMs,
    async handler({ data }, { signal, progress }) {
      const task = tasks.find(({ name }) => name === data.task);
      // Of a version, or a configuration, that has other tasks.
      if (task === undefined)
        return { outcome: 'completed', output: { removed: 0, remark: 'no such task here' } };
      const endTimer = metrics.duration.startTimer({ task: task.name });
      try {
        const report = await task.run({ signal, progress });
        metrics.runs.inc({ task: task.name, outcome: 'completed' });
        metrics.removed.inc({ task: task.name }, report.removed);
        if (report.removed > 0) log.info({ task: task.name, ...report }, 'upkeep');
        return { outcome: 'completed', output: { ...report } };
      } catch (error) {
        metrics.runs.inc({ task: task.name, outcome: 'failed' });
        throw error;
      } finally {
        endTimer();
      }
    },
  });

  /** Those of today, and no others. */
  async function scheduleTasks(): Promise<void> {
    await jobs.ensureQueue(upkeepQueue);
    for (const { name, cron } of tasks) await jobs.schedule(upkeepQueue, { task: name }, { key: name, cron });
    for (const { key } of await jobs.schedules(upkeepQueue)) {
      if (!tasks.some(({ name }) => name === key)) await jobs.unschedule(upkeepQueue, key);
    }
  }

  return {
    ...loop,
    async tick(context): ReturnType<Loop['tick']> {
      if (!isScheduled) await scheduleTasks();
      isScheduled = true;
      return await loop.tick(context);
    },
  };
}

export interface ScheduleWatchOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  readonly metrics: UpkeepMetrics;
  /** For people who ask who watches. */
  readonly holder: string;
  /** Default 30,000. */
  readonly everyMs?: number;
}

const LEASE = 'schedules/exporter';
/** A database that answers nothing makes ticks fail; it must not make the loop stuck. */
const STATEMENT_MS = 5_000;
/** What a run takes to be sent, fetched and done, with room. */
const GRACE_SECONDS = 120;

/**
 * Sets the gauges of all schedules, whichever worker they belong to: one process does, by a lease, and when it stops or
 * loses it, its series are gone and another has them.
 */
export function scheduleWatch({ pool, jobs, metrics, holder, everyMs = 30_000 }: ScheduleWatchOptions): Loop {
  const election = candidacy({ name: LEASE, holder, ttlMs: 3 * everyMs });
  let overdue: readonly string[] = [];

  function clear(): void {
    metrics.lastSuccess.reset();
    metrics.overdue.reset();
    overdue = [];
  }

  async function set(): Promise<void> {
    const runs = await jobs.scheduleRuns();
    clear();
    const late: string[] = [];
    for (const { queue, key, everySeconds, scheduledForSeconds, succeededSecondsAgo } of runs) {
      const schedule = key === '' ? queue : `${queue}/${key}`;
      const ageSeconds = succeededSecondsAgo ?? scheduledForSeconds;
      const isLate = ageSeconds > 2 * everySeconds + GRACE_SECONDS;
      metrics.lastSuccess.set({ schedule }, ageSeconds);
      metrics.overdue.set({ schedule }, isLate ? 1 : 0);
      if (isLate) late.push(schedule);
    }
    overdue = late;
  }

  return {
    name: 'schedules',
    cadenceMs: everyMs,
    async tick({ progress: saysSo }) {
      const progress = (): void => saysSo();
      try {
        if (await election.isElected(boundedQueries(pool, STATEMENT_MS, progress))) await set();
        else clear();
      } catch (error) {
        clear();
        throw error;
      }
      return undefined;
    },
    checks: () => ({
      schedules:
        overdue.length === 0
          ? { status: 'ok' }
          : {
              status: 'degraded',
              detail: `did not run for more than two of their intervals: ${overdue.join(', ')}`,
            },
    }),
    async stop(): Promise<void> {
      clear();
      await election.resign(boundedQueries(pool, STATEMENT_MS));
    },
  };
}

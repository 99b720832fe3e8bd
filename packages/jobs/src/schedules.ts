// Jobs that are sent by the clock. The process whose jobs were opened with `schedules` sends them; of several, one does.

import type { Boss } from './boss.ts';
import { JobsError } from './jobs-error.ts';
import type { Queue } from './queue.ts';

export interface ScheduleOptions {
  /** Tells the schedules of one queue apart. Default: the queue has one. */
  readonly key?: string;
  /** Five fields, `0 3 * * *`, or an RFC 5545 rule, `FREQ=DAILY;BYHOUR=3`. At most one job a minute is sent. */
  readonly cron: string;
  /** The time zone that `cron` speaks of. Default UTC. */
  readonly timeZone?: string;
  /** What came due while nobody was there to send it: `once` sends one job for all of it. Default `once`. */
  readonly missed?: 'skip' | 'once';
}

/** A schedule as it is stored. */
export interface Schedule<Data extends object> {
  readonly key: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly data: Data;
}

/** A schedule of the same queue and key is replaced. @throws JOBS_SCHEDULE_INVALID, JOBS_QUEUE_UNKNOWN */
export async function schedule<Data extends object>(
  boss: Boss,
  queue: Queue<Data>,
  data: Data,
  { key, cron, timeZone = 'UTC', missed = 'once' }: ScheduleOptions,
): Promise<void> {
  await boss.use(async (pgboss) => {
    try {
      pgboss.previewSchedule(cron, { tz: timeZone, count: 1 });
    } catch (cause) {
      throw new JobsError(
        'JOBS_SCHEDULE_INVALID',
        `expected a schedule for ${queue.name}, got ${JSON.stringify(cron)} in ${timeZone}: ${reasonOf(cause)}`,
        { hint: 'five fields as cron has them, or a rule that begins with FREQ=', cause },
      );
    }
    await pgboss.schedule(queue.name, cron, data, {
      tz: timeZone,
      missed,
      ...(key === undefined ? {} : { key }),
    });
  });
}

/** Idempotent. */
export async function unschedule(boss: Boss, queue: Queue, key: string | undefined): Promise<void> {
  await boss.use(async (pgboss) => pgboss.unschedule(queue.name, key));
}

export async function schedulesOf<Data extends object>(
  boss: Boss,
  queue: Queue<Data>,
): Promise<readonly Schedule<Data>[]> {
  const found = await boss.use(async (pgboss) => pgboss.getSchedules(queue.name));
  return found.map((row) => ({
    key: row.key,
    cron: row.cron,
    timeZone: row.timezone ?? 'UTC',
    data: row.data as Data,
  }));
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

// When what is scheduled last ran to its end: for whoever has to notice that it does not.

import type { Pool } from 'pg';
import type { Boss } from './boss.ts';
import { throughPool } from './database.ts';

export interface ScheduleRun {
  readonly queue: string;
  /** Tells the schedules of one queue apart; empty: it has one. */
  readonly key: string;
  /** From one run to the next, by the schedule itself. */
  readonly everySeconds: number;
  /** By the clock of the database, here and below: how long the schedule has stood. */
  readonly scheduledForSeconds: number;
  /** Since a job of it last completed. Null: none has, or it is so long ago that the job is not kept any more. */
  readonly succeededSecondsAgo: number | null;
}

/**
 * A row for each schedule. A job carries the data of its schedule, and is known by that. Reads the few schedules, and the
 * jobs of their queues that are kept. 0 rows: nothing is scheduled.
 */
const SCHEDULE_RUNS = `
  select s.name as queue, s.key, s.cron, coalesce(s.timezone, 'UTC') as time_zone,
         extract(epoch from clock_timestamp() - s.created_on)::float8 as scheduled_for_seconds,
         (select extract(epoch from clock_timestamp() - max(j.completed_on))::float8
          from pgboss.job j
          where j.name = s.name and j.state = 'completed' and j.data is not distinct from s.data
         ) as succeeded_seconds_ago
  from pgboss.schedule s
  order by s.name, s.key`;

interface Row {
  readonly queue: string;
  readonly key: string;
  readonly cron: string;
  readonly time_zone: string;
  readonly scheduled_for_seconds: number;
  readonly succeeded_seconds_ago: number | null;
}

export async function scheduleRuns(boss: Boss, pool: Pool): Promise<readonly ScheduleRun[]> {
  return await boss.use(async (pgboss) => {
    const { rows } = (await throughPool(pool).executeSql(SCHEDULE_RUNS, [])) as {
      readonly rows: readonly Row[];
    };
    return rows.map((row) => {
      const [next, after] = pgboss.previewSchedule(row.cron, { tz: row.time_zone, count: 2 });
      return {
        queue: row.queue,
        key: row.key,
        // A rule that has an end may have no further run.
        everySeconds:
          next === undefined || after === undefined ? Infinity : (after.getTime() - next.getTime()) / 1_000,
        scheduledForSeconds: row.scheduled_for_seconds,
        succeededSecondsAgo: row.succeeded_seconds_ago,
      };
    });
  });
}

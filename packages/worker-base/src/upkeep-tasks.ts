// What is removed by the clock: passed partitions of the log, dead letters that nobody wants any more, finished jobs.
//
// Partitions and jobs are also looked after by the loop `housekeeping` of every worker, by the same functions: it needs
// no schedule, and goes on where nobody runs one. A scheduled run finds what is left, counts it, and is missed when it
// does not come. Dead letters are discarded here and nowhere else.

import type { Jobs } from '@pulsebox/jobs';
import { discardDead, dropOldestPartition } from '@pulsebox/outbox';
import type { RetentionOptions } from '@pulsebox/outbox';
import type { Pool } from 'pg';

/** What a run did, as it is kept with its job. */
export interface UpkeepReport {
  readonly removed: number;
  /** Why no more was, where there is something to say. */
  readonly remark?: string;
}

export interface UpkeepTask {
  /** Lower-case letters and hyphens: the key of its schedule, and a label. */
  readonly name: string;
  /** Five fields, UTC. */
  readonly cron: string;
  run(context: { readonly signal: AbortSignal; progress(): void }): Promise<UpkeepReport>;
}

export interface UpkeepTasksOptions {
  readonly pool: Pool;
  readonly jobs: Jobs;
  /** That of the loop `housekeeping`. */
  readonly retention: RetentionOptions;
  /** Undefined: dead letters are kept until a person decides. */
  readonly deadLetterSeconds: number | undefined;
}

/** Several may be due after a long outage; the rest is for the next run. */
const MOST_PARTITIONS = 100;

export function upkeepTasks(options: UpkeepTasksOptions): readonly UpkeepTask[] {
  const { pool, jobs, retention, deadLetterSeconds } = options;
  const log: UpkeepTask = {
    name: 'log',
    cron: '*/10 * * * *',
    async run({ signal, progress }) {
      for (let removed = 0; removed < MOST_PARTITIONS; removed += 1) {
        signal.throwIfAborted();
        const result = await dropOldestPartition(pool, retention);
        progress();
        if (result.outcome === 'dropped') continue;
        const by = 'blockedBy' in result && result.blockedBy !== null ? ` ${result.blockedBy}` : '';
        return { removed, remark: `${result.outcome}${by}` };
      }
      return { removed: MOST_PARTITIONS };
    },
  };
  const finishedJobs: UpkeepTask = {
    name: 'jobs',
    cron: '*/10 * * * *',
    async run() {
      // pg-boss does not say how many there were.
      await jobs.maintain();
      return { removed: 0 };
    },
  };
  if (deadLetterSeconds === undefined) return [log, finishedJobs];
  const deadLetters: UpkeepTask = {
    name: 'dead-letters',
    cron: '23 * * * *',
    async run() {
      const { discarded } = await discardDead(pool, { filter: { olderThanSeconds: deadLetterSeconds } });
      return { removed: discarded };
    },
  };
  return [log, finishedJobs, deadLetters];
}

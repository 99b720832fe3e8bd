// The loops of upkeep: what is removed by the clock, and the watch over all that is scheduled.

import { openJobs } from '@pulsebox/jobs';
import type { Logger, Loop, Registry } from '@pulsebox/loop';
import { pruneDeadLetters } from '@pulsebox/pubsub';
import { scheduleWatch, upkeep, upkeepMetrics, upkeepTasks } from '@pulsebox/worker-base';
import type { OpenedLog, UpkeepConfig, UpkeepTask } from '@pulsebox/worker-base';

export interface UpkeepLoopsOptions {
  readonly config: UpkeepConfig;
  readonly outbox: OpenedLog;
  readonly log: Logger;
  readonly registry: Registry;
}

export interface UpkeepLoops {
  readonly loops: readonly Loop[];
  /** Before the log is closed. */
  close(): Promise<void>;
}

const SECONDS_OF_A_DAY = 86_400;

export function upkeepLoops({ config, outbox, log, registry }: UpkeepLoopsOptions): UpkeepLoops {
  const { pool, holder, retention } = outbox;
  const jobs = openJobs({ pool, log, schedules: true });
  const metrics = upkeepMetrics(registry);
  const days = config.OUTBOX_DEAD_LETTER_DAYS;
  const ofTheLog = upkeepTasks({
    pool,
    jobs,
    retention,
    deadLetterSeconds: days === undefined ? undefined : days * SECONDS_OF_A_DAY,
  });
  const tasks = [
    ...ofTheLog,
    misunderstoodMessages(pool, config.GMAIL_PUBSUB_DEAD_LETTER_DAYS * SECONDS_OF_A_DAY),
  ];
  return {
    loops: [
      outbox.whenMigrated(upkeep({ jobs, tasks, metrics, log })),
      outbox.whenMigrated(scheduleWatch({ pool, jobs, metrics, holder })),
    ],
    close: () => jobs.stop(),
  };
}

/** Kept by watch-worker; whoever may publish to the topic must not be able to fill the disk for good. */
function misunderstoodMessages(pool: OpenedLog['pool'], olderThanSeconds: number): UpkeepTask {
  return {
    name: 'pubsub-dead-letters',
    cron: '41 * * * *',
    async run({ signal }) {
      return { removed: await pruneDeadLetters(pool, { olderThanSeconds, signal }) };
    },
  };
}

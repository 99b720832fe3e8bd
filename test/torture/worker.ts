// A worker as an application would build one, on the real relay and the real schedule of redrives.

import { openJobs } from '@pulsebox/jobs';
import { createLogger, runWorker } from '@pulsebox/loop';
import type { Loop } from '@pulsebox/loop';
import { createWaker, relay } from '@pulsebox/outbox';
import { createPool } from '@pulsebox/postgres';
import { createTortureHandler } from './handler.ts';
import { MAX_ATTEMPTS } from './plan.ts';
import { seededRandom } from './random.ts';
import { applicationName, holderName } from './schema.ts';

/** What the parent hands over in TORTURE_WORKER, as JSON. */
export interface WorkerSettings {
  readonly number: number;
  readonly databaseUrl: string;
  readonly sinkUrl: string;
  readonly groups: readonly string[];
  readonly batchSize: number;
  readonly leaseTtlMs: number;
  readonly deadlineMs: number;
  readonly seed: number;
}

const settings = JSON.parse(process.env['TORTURE_WORKER'] ?? '') as WorkerSettings;
const connection = {
  connectionString: settings.databaseUrl,
  application_name: applicationName(settings.number),
};
const log = createLogger({ worker: 'torture', level: 'debug' });
const pool = createPool({
  connection,
  // Two for each relay, one for its handler, one for its timers; and the upkeep's.
  max: 4 * settings.groups.length + 2,
  onIdleError: (error) => log.warn({ err: error }, 'idle connection lost'),
});
const waker = createWaker({ connection, log });
const jobs = openJobs({ pool, log });
const random = seededRandom(settings.seed);

// A parent that is gone takes its workers with it.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.channel?.unref();

await runWorker({
  name: 'torture',
  version: '0.0.0',
  host: '127.0.0.1',
  port: 0,
  once: false,
  stalenessMultiplier: 10,
  drainMs: 10_000,
  log,
  loops: [...settings.groups.map(reading), upkeep()],
  close: async () => {
    await waker.close();
    await jobs.stop();
    await pool.end();
  },
});

/** Waits are short, so that an event is parked, tried again and given up within seconds. */
function reading(group: string, n: number): Loop {
  const { batchSize, leaseTtlMs, deadlineMs } = settings;
  return relay({
    pool,
    waker,
    jobs,
    group,
    holder: holderName(settings.number, process.pid),
    batchSize,
    leaseTtlMs,
    deadlineMs,
    pollMs: 200,
    idleWaitMs: 500,
    maxAttempts: MAX_ATTEMPTS,
    retry: { firstMs: 100, longestMs: 800 },
    pause: { firstMs: 50, longestMs: 400 },
    handler: createTortureHandler({
      pool,
      sinkUrl: settings.sinkUrl,
      group,
      worker: settings.number,
      batchSize,
      deadlineMs,
      random: random.fork(n),
    }),
  });
}

function upkeep(): Loop {
  return {
    name: 'upkeep',
    cadenceMs: 5_000,
    tick: async () => {
      await jobs.maintain();
      return { events: 0 };
    },
  };
}

// What imports need by the clock: runs for those that nobody runs, gauges, and an end to what nobody needs any more.

import type { Jobs } from '@pulsebox/jobs';
import type { Logger, Loop, TickResult } from '@pulsebox/loop';
import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { ImportsMetrics } from './imports-metrics.ts';
import { sendImports } from './imports-handler.ts';
import type { ImportWorld } from './run-import.ts';
import { removeStored } from './storage.ts';

export interface UpkeepOptions extends ImportWorld {
  readonly jobs: Jobs;
  /** How long imports that have ended are kept, for people, in seconds. */
  readonly keepSeconds: number;
}

const EVERY_MS = 15_000;
/** Longer than another worker needs to find a run dead. */
const FORGOTTEN_SECONDS = 60;
const PRUNED_AT_ONCE = 100;
const STATEMENT_MS = 10_000;

/** Result: ids. $1 seconds. By the index of open imports. */
export const FORGOTTEN = `
  select job_id from app.import_jobs
  where state in ('queued', 'running') and beat_at < clock_timestamp() - $1 * interval '1 second'`;

/** Result: one row. By the index of open imports. */
export const OPEN = `
  select count(*) filter (where state = 'queued')::int as queued,
         count(*) filter (where state = 'running')::int as running,
         count(*) filter (where state = 'paused')::int as paused,
         coalesce(extract(epoch from clock_timestamp() - min(beat_at) filter (where state = 'queued')), 0)::float8
           as oldest_queued
  from app.import_jobs where state in ('queued', 'running', 'paused')`;

/** Result: files that were the imports' own and may still be there. $1 seconds, $2 how many. By the index of ended imports. */
export const PRUNE = `
  delete from app.import_jobs where job_id in (
    select job_id from app.import_jobs
    where ended_at < clock_timestamp() - $1 * interval '1 second' order by ended_at limit $2
    for update skip locked)
  returning file_path, delete_file and state <> 'completed' as remove_file`;

/** Any number of processes may do it. */
export function upkeepLoop(options: UpkeepOptions): Loop {
  return {
    name: 'imports-upkeep',
    cadenceMs: EVERY_MS,
    async tick({ log, progress }): Promise<TickResult> {
      const { pool, jobs, metrics } = options;
      // A database that answers nothing must not make this loop stuck: every wait has an end, and says that it waits.
      const bounded = async <T>(work: (db: Queryable) => Promise<T>): Promise<T> =>
        boundedTransaction(pool, { statementMs: STATEMENT_MS, onWaiting: () => progress() }, work);
      const forgotten = await bounded(forgottenImports);
      if (forgotten.length > 0) {
        log.debug({ imports: forgotten }, 'imports that nobody has been heard of running are sent again');
        await sendImports(
          jobs,
          forgotten.map((jobId) => ({ jobId })),
        );
      }
      if (metrics !== undefined) await bounded(async (db) => setGauges(db, metrics));
      const pruned = await bounded(async (db) => prune(db, options.keepSeconds));
      await removeFiles(pruned, options.directory, log);
      return { events: 0, nextInMs: pruned.length === PRUNED_AT_ONCE ? 0 : EVERY_MS };
    },
  };
}

/** An import may be without a job: pg-boss's tables were lost, or its event was passed over by a seek. */
async function forgottenImports(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ job_id: string }>(FORGOTTEN, [FORGOTTEN_SECONDS]);
  return rows.map((row) => row.job_id);
}

async function setGauges(db: Queryable, metrics: ImportsMetrics): Promise<void> {
  const { rows } = await db.query<{ queued: number; running: number; paused: number; oldest_queued: number }>(
    OPEN,
  );
  const [found] = rows;
  for (const state of ['queued', 'running', 'paused'] as const)
    metrics.open.set({ state }, found?.[state] ?? 0);
  metrics.oldestQueued.set(found?.oldest_queued ?? 0);
}

interface Pruned {
  readonly file_path: string;
  readonly remove_file: boolean;
}

async function prune(db: Queryable, keepSeconds: number): Promise<readonly Pruned[]> {
  return (await db.query<Pruned>(PRUNE, [keepSeconds, PRUNED_AT_ONCE])).rows;
}

async function removeFiles(pruned: readonly Pruned[], directory: string, log: Logger): Promise<void> {
  for (const { file_path: path, remove_file: remove } of pruned) {
    if (!remove) continue;
    await removeStored(directory, path).catch((error: unknown) => {
      log.warn({ path, err: error }, 'the file of a pruned import could not be removed');
    });
  }
}

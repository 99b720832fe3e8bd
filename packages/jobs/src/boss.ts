// pg-boss, set up our way: on our pool, without a schedule of maintenance of its own, started when it is first needed.

import type { Logger } from '@pulsebox/loop';
import type { Pool } from 'pg';
import { PgBoss } from 'pg-boss';
import { throughPool } from './database.ts';
import { JobsError } from './jobs-error.ts';
import { assertSchema, isPrivilegeMissing, JOBS_SCHEMA, privilegeMissing } from './schema.ts';

export interface BossOptions {
  readonly pool: Pool;
  readonly log: Logger;
  readonly schedules: boolean;
  readonly crashCheckSeconds: number;
}

export interface Boss {
  /** Runs `work` with a started pg-boss. @throws JOBS_STOPPED, and what `assertSchema` throws */
  use<T>(work: (boss: PgBoss) => Promise<T>): Promise<T>;
  /** Waits for what is in use. Idempotent, safe before a start. */
  stop(): Promise<void>;
}

/** Queues are read anew this often; ours never change what is kept of them there. */
const QUEUE_CACHE_SECONDS = 3_600;
/** How long a stop waits for the forwarding of a schedule that is under way, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;
/** What does not work is told this often while it lasts. */
const SAY_AGAIN_MS = 60_000;

export function createBoss(options: BossOptions): Boss {
  let starting: Promise<PgBoss> | undefined;
  let stopped: Promise<void> | undefined;
  const inUse = new Set<Promise<unknown>>();

  /** A start that failed, for instance since the database was away, is tried again by the next who needs it. */
  async function started(): Promise<PgBoss> {
    starting ??= start(options).catch((error: unknown) => {
      starting = undefined;
      throw error;
    });
    return await starting;
  }

  async function use<T>(work: (boss: PgBoss) => Promise<T>): Promise<T> {
    if (stopped !== undefined) {
      throw new JobsError('JOBS_STOPPED', 'jobs were used after they had been stopped', {
        hint: 'stop the loops that run jobs before the jobs themselves',
      });
    }
    const using = started().then(work).catch(rethrow);
    inUse.add(using);
    try {
      return await using;
    } finally {
      inUse.delete(using);
    }
  }

  async function stop(): Promise<void> {
    const boss = await starting?.catch(() => undefined);
    // At once: maintenance that is under way ends after its present statement.
    const stopping = boss?.stop({ close: false, graceful: true, timeout: STOP_TIMEOUT_MS });
    await Promise.allSettled(inUse);
    await stopping;
  }

  return {
    use,
    async stop(): Promise<void> {
      stopped ??= stop();
      await stopped;
    },
  };
}

async function start({ pool, log, schedules, crashCheckSeconds }: BossOptions): Promise<PgBoss> {
  await assertSchema(pool);
  const boss = new PgBoss({
    db: throughPool(pool),
    schema: JOBS_SCHEMA,
    migrate: false,
    createSchema: false,
    supervise: false,
    schedule: schedules,
    monitorIntervalSeconds: crashCheckSeconds,
    queueCacheIntervalSeconds: QUEUE_CACHE_SECONDS,
  });
  let saidAtMs = -Infinity;
  boss.on('error', (error) => {
    // It tries every few seconds, whatever has failed, and does not say when all is well again.
    const isNews = performance.now() - saidAtMs >= SAY_AGAIN_MS;
    if (isNews) saidAtMs = performance.now();
    // No error but a copy of one, with a stack of its waiting for the database as a field of its own.
    const { message, code } = error as { readonly message: string; readonly code?: unknown };
    log[isNews ? 'error' : 'debug'](
      { err: { code, message } },
      'pg-boss could not do its work; it tries again',
    );
  });
  boss.on('warning', ({ message, data }) => {
    log.warn({ data }, message);
  });
  try {
    return await boss.start();
  } catch (error) {
    await boss.stop({ close: false, graceful: false }).catch(() => undefined);
    throw error;
  }
}

/** What pg-boss and the server say of the two faults that people make, in our words. */
function rethrow(error: unknown): never {
  if (isPrivilegeMissing(error)) throw privilegeMissing(error);
  const queue = error instanceof Error ? /^Queue (\S+) does not exist$/.exec(error.message)?.[1] : undefined;
  if (queue === undefined) throw error;
  throw queueUnknown(queue, error);
}

export function queueUnknown(queue: string, cause?: unknown): JobsError {
  return new JobsError('JOBS_QUEUE_UNKNOWN', `there is no queue ${queue} in this database`, {
    hint: 'whoever runs its jobs makes it; call ensureQueue() before the first job is sent',
    cause,
  });
}

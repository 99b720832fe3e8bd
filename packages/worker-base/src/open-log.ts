// Opens the log for a worker: pool, waker, metrics, and relays that are set up as its configuration says.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import type { ComposeContext, Loop } from '@pulsebox/loop';
import { createWaker, housekeeping, outboxMetrics, relay } from '@pulsebox/outbox';
import type { DeliveryOrder, Handler, RetentionOptions, StartFrom } from '@pulsebox/outbox';
import { assertMigrated, createPool } from '@pulsebox/postgres';
import type { MigrationSet } from '@pulsebox/postgres';
import { REINDEX_LEASES } from '@pulsebox/search';
import type { Pool } from 'pg';
import { batchBytesFor } from './batch-bytes.ts';
import { connections } from './database-variables.ts';
import type { databaseVariables } from './database-variables.ts';
import { afterFirstSuccess } from './first-success.ts';
import { withJobsUpkeep } from './jobs-upkeep.ts';
import type { outboxVariables } from './outbox-variables.ts';
import { poolMetrics } from './pool-metrics.ts';

export interface ConsumerGroup {
  readonly group: string;
  readonly handler: Handler;
  /** Where the group starts when it is new. Default `beginning`. */
  readonly startFrom?: StartFrom;
  /** What becomes of later events of a key when one fails. Default `key`: they wait. */
  readonly order?: DeliveryOrder;
}

export interface OpenLogOptions {
  readonly context: Pick<
    ComposeContext<typeof databaseVariables & typeof outboxVariables>,
    'config' | 'log' | 'registry'
  >;
  /** Shows in `pg_stat_activity`. */
  readonly applicationName: string;
  /** What must be in the database before anything is read, that of jobs included; a worker never migrates. */
  readonly migrations: readonly MigrationSet[];
  /** The longest one statement may take, in milliseconds, where every statement is a short one. Default: no limit. */
  readonly queryTimeoutMs?: number;
  /** The worker turns each loop once and ends (it was not started with `--loop`). Default false. */
  readonly once?: boolean;
}

export interface OpenedLog {
  readonly pool: Pool;
  /** One for the whole process: `housekeeping` looks after its jobs, and `close` stops it. */
  readonly jobs: Jobs;
  /** This process, for people who ask who holds a lease: `host/pid/random`. */
  readonly holder: string;
  /** When a partition may go: one rule for all that drop any. */
  readonly retention: RetentionOptions;
  /** A loop that delivers to the handler. */
  consume(group: ConsumerGroup): Loop;
  /** The loop that makes partitions, drops them, keeps the gauges right, and looks after pg-boss; one per worker. */
  readonly housekeeping: Loop;
  /** A loop of one's own, which turns only once the database has what it needs. */
  whenMigrated(loop: Loop): Loop;
  close(): Promise<void>;
}

/** Opens without asking the database anything: a worker that starts before its database waits for it. */
export function openLog(options: OpenLogOptions): OpenedLog {
  const { context, applicationName, migrations, queryTimeoutMs, once = false } = options;
  const { config, log, registry } = context;
  const { pooled, direct } = connections(config, applicationName);
  const pool = createPool({
    connection: queryTimeoutMs === undefined ? pooled : { ...pooled, query_timeout: queryTimeoutMs },
    max: config.DATABASE_POOL_SIZE,
    // A server that goes away breaks all of them at once; the loops say what came of it.
    onIdleError: (error) => log.debug({ err: error }, 'an idle database connection broke; it is replaced'),
  });
  poolMetrics(registry, pool);
  const waker = createWaker({ connection: config.OUTBOX_WORKER_LISTEN_NOTIFY ? direct : undefined, log });
  const jobs = openJobs({ pool, log });
  const metrics = outboxMetrics(registry);
  const holder = `${hostname()}/${process.pid}/${randomBytes(4).toString('hex')}`;
  const retention: RetentionOptions = {
    keepSeconds: config.OUTBOX_KEEP_HOURS * 3_600,
    // A rebuild of a search index reads the log from a cursor of its own.
    pinnedBy: [REINDEX_LEASES],
  };
  // Both loops wait for the one answer: one that never comes must not make them stuck.
  const bounded = { ...pooled, query_timeout: 5_000 };
  const whenMigrated = afterFirstSuccess(() => assertMigrated(bounded, migrations));

  return {
    pool,
    jobs,
    holder,
    retention,
    consume: ({ group, handler, startFrom, order }) =>
      whenMigrated(
        relay({
          pool,
          group,
          handler,
          holder,
          waker,
          metrics,
          batchSize: config.OUTBOX_WORKER_BATCH_SIZE,
          batchBytes: batchBytesFor(),
          pollMs: config.OUTBOX_WORKER_POLL_SECONDS * 1_000,
          idleWaitMs: config.OUTBOX_WORKER_NOTIFY_FALLBACK_SECONDS * 1_000,
          leaseTtlMs: config.OUTBOX_LEASE_SECONDS * 1_000,
          deadlineMs: config.OUTBOX_BATCH_DEADLINE_SECONDS * 1_000,
          maxAttempts: config.OUTBOX_MAX_ATTEMPTS,
          jobs,
          once,
          ...(startFrom === undefined ? {} : { startFrom }),
          ...(order === undefined ? {} : { order }),
        }),
      ),
    housekeeping: whenMigrated(
      withJobsUpkeep(
        housekeeping({
          pool,
          holder,
          metrics,
          ...retention,
          retentionLimitSeconds: config.OUTBOX_RETENTION_HOURS * 3_600,
          partitionSize: config.OUTBOX_PARTITION_EVENTS,
        }),
        jobs,
      ),
    ),
    whenMigrated,
    async close(): Promise<void> {
      await waker.close();
      await jobs.stop();
      await pool.end();
    },
  };
}

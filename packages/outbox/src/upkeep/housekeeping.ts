// What the log needs done now and then: partitions ahead of the sequence; and, by one process of all that run it,
// partitions dropped behind every group, the gauges of all groups, and a look whether the log is still this cluster's.

import { hostname } from 'node:os';
import type { Logger, Loop, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import { boundedTransaction, candidacy } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { boundedQueries } from '../bounded-queries.ts';
import type { GroupStatus } from '../group/group-status.ts';
import { groupStatus } from '../group/group-status.ts';
import type { OutboxMetrics } from '../outbox-metrics.ts';
import { checkOverflow, makeRoom, PARTITION_SIZE } from '../log/partitions.ts';
import { rebaseAfterRestore } from '../log/restore.ts';
import { dropOldestPartition } from './retention.ts';

export interface HousekeepingOptions {
  readonly pool: Pool;
  /** Who holds the lease of the one that keeps house, for people: `host/pid/random`. Default: host and pid. */
  readonly holder?: string;
  readonly metrics: OutboxMetrics;
  /** Default 5,000. */
  readonly everyMs?: number;
  /** How long a partition is kept after its last event was written, in seconds. Default 24 hours. */
  readonly keepSeconds?: number;
  /** The age in seconds of an undelivered event at which its group is said to hold the log back. Default 72 hours. */
  readonly retentionLimitSeconds?: number;
  /** Nothing is dropped while a lease runs whose name begins with one of these. Default: none. */
  readonly pinnedBy?: readonly string[];
  /** Events that each new partition has room for. Default 10,000,000. */
  readonly partitionSize?: number;
}

/** The one who has it sets the gauges of all groups: a sum over pods counts each once, and one nobody reads is seen. */
export const EXPORTER_LEASE = 'outbox/exporter';

/** After a drop or a cut that producers were in the way of. */
const TRY_AGAIN_AFTER_MS = 60_000;

/** Beyond any overflow that fits on a disk: a minute for each hundred gigabytes or so. Nobody waits for it. */
const LONGEST_CHECK_MS = 600_000;

export function housekeeping(options: HousekeepingOptions): Loop {
  const everyMs = options.everyMs ?? 5_000;
  const holder = options.holder ?? `${hostname()}/${process.pid}`;
  const limitSeconds = options.retentionLimitSeconds ?? 72 * 3_600;
  const retention = { keepSeconds: options.keepSeconds ?? 24 * 3_600, pinnedBy: options.pinnedBy ?? [] };
  // A database that answers nothing (a lost route, a frozen server) makes ticks fail; it must not make this loop stuck.
  const db = boundedQueries(options.pool, everyMs);
  // What one who lost the lease unnoticed still does is done by two, and harms nothing.
  const election = candidacy({ name: EXPORTER_LEASE, holder, ttlMs: Math.max(3 * everyMs, 1_000) });
  let blocked: readonly string[] = [];
  let nextDropAtMs = 0;
  let nextRoomAtMs = 0;

  function show(statuses: readonly GroupStatus[]): void {
    blocked = groupsPastLimit(statuses, limitSeconds);
    options.metrics.setGroups(statuses, { blocked, atMs: Date.now() });
  }

  function showNothing(): void {
    blocked = [];
    options.metrics.clearGroups();
  }

  /**
   * A database that is replaced under workers that run (a restore, a switch to a copy) has other xids, and they hold
   * lanes with cursors in memory. Moving the log into this cluster takes their lanes from them. The question costs a
   * probe of an index and is asked at every tick: until it is, such a worker reads by a cursor of another cluster.
   */
  async function readOnAfterRestore(log: Logger): Promise<void> {
    if (await rebaseAfterRestore(db))
      log.warn(
        'the log was restored from another cluster: every group goes on with what it had not delivered',
      );
  }

  /** By all that run this, elected or not: room matters more than that only one of them looks. */
  async function keepRoom({ log, signal, progress }: TickContext): Promise<void> {
    if (performance.now() < nextRoomAtMs) return;
    const outcome = await makeRoom(db, options.partitionSize ?? PARTITION_SIZE);
    if (outcome === 'made') log.info('made partitions of the log ahead');
    if (outcome === 'cut') log.info('cut a partition of the log from its overflow');
    if (outcome === 'busy') nextRoomAtMs = performance.now() + Math.max(everyMs, TRY_AGAIN_AFTER_MS);
    if (outcome !== 'unchecked') return;
    log.info('many events came while nobody made partitions: checking the overflow, so that it can be cut');
    const bounds = { statementMs: LONGEST_CHECK_MS, signal, onWaiting: () => progress() };
    await boundedTransaction(options.pool, bounds, checkOverflow).catch((error: unknown) => {
      nextRoomAtMs = performance.now() + Math.max(everyMs, TRY_AGAIN_AFTER_MS);
      log.warn({ err: error }, 'the overflow of the log could not be checked; trying again');
    });
  }

  async function dropWhatIsPassed(log: Logger): Promise<void> {
    if (performance.now() < nextDropAtMs) return;
    const result = await dropOldestPartition(db, retention);
    // Several may be due after a long outage: the next one follows at the next tick.
    if (result.outcome !== 'dropped')
      nextDropAtMs = performance.now() + Math.max(everyMs, TRY_AGAIN_AFTER_MS);
    if (result.outcome === 'dropped')
      log.info({ partition: result.partition }, 'dropped a partition of the log');
    else if (result.outcome !== 'kept') log.debug(result, 'the oldest partition of the log is kept');
  }

  return {
    name: 'housekeeping',
    cadenceMs: everyMs,
    async tick(context): Promise<TickResult> {
      const { log } = context;
      try {
        await keepRoom(context);
        context.progress();
        if (await election.isElected(db)) {
          await readOnAfterRestore(log);
          show(await groupStatus(db));
          context.progress();
          await dropWhatIsPassed(log);
        } else {
          showNothing();
        }
      } catch (error) {
        // Figures that nobody keeps right any more are worse than none; another one may be elected meanwhile.
        showNothing();
        throw error;
      }
      return { events: 0, nextInMs: everyMs };
    },
    checks: (): Readonly<Record<string, LoopCheck>> => ({
      retention:
        blocked.length === 0
          ? { status: 'ok' }
          : {
              status: 'degraded',
              detail: `the log grows: ${blocked.join(', ')} is behind by more than the retention limit`,
            },
    }),
    async stop(): Promise<void> {
      showNothing();
      await election.resign(db);
    },
  };
}

function groupsPastLimit(statuses: readonly GroupStatus[], limitSeconds: number): string[] {
  const past = statuses.filter(({ lag, oldestAgeSeconds }) => lag > 0 && oldestAgeSeconds > limitSeconds);
  return [...new Set(past.map(({ group }) => group))];
}

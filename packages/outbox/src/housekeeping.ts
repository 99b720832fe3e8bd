// What the log needs done now and then: partitions ahead of the sequence; and, by one process of all that run it,
// partitions dropped behind every group, and the gauges of all groups.

import { hostname } from 'node:os';
import type { Logger, Loop, LoopCheck, TickResult } from '@pulsebox/loop';
import { acquireLease, releaseLease, renewLease } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { boundedQueries } from './bounded-queries.ts';
import type { GroupStatus } from './group-status.ts';
import { groupStatus } from './group-status.ts';
import type { OutboxMetrics } from './outbox-metrics.ts';
import { createPartitionsAhead, PARTITION_SIZE } from './partitions.ts';
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

/** After a drop that producers were in the way of, and after one that was done. */
const RETENTION_EVERY_MS = 60_000;

export function housekeeping(options: HousekeepingOptions): Loop {
  const everyMs = options.everyMs ?? 5_000;
  const holder = options.holder ?? `${hostname()}/${process.pid}`;
  const limitSeconds = options.retentionLimitSeconds ?? 72 * 3_600;
  const retention = { keepSeconds: options.keepSeconds ?? 24 * 3_600, pinnedBy: options.pinnedBy ?? [] };
  // A database that answers nothing (a lost route, a frozen server) makes ticks fail; it must not make this loop stuck.
  const db = boundedQueries(options.pool, everyMs);
  let token: number | undefined;
  let blocked: readonly string[] = [];
  let nextDropAtMs = 0;

  /** Takes the lease or keeps it. What one who lost it unnoticed still does is done by two, and harms nothing. */
  async function elected(): Promise<boolean> {
    const ttlMs = Math.max(3 * everyMs, 1_000);
    if (token !== undefined && (await renewLease(db, { name: EXPORTER_LEASE, token, ttlMs })).renewed)
      return true;
    const attempt = await acquireLease(db, { name: EXPORTER_LEASE, holder, ttlMs });
    token = attempt.acquired ? attempt.token : undefined;
    return attempt.acquired;
  }

  function show(statuses: readonly GroupStatus[]): void {
    blocked = groupsPastLimit(statuses, limitSeconds);
    options.metrics.setGroups(statuses, { blocked, atMs: Date.now() });
  }

  function showNothing(): void {
    blocked = [];
    options.metrics.clearGroups();
  }

  async function dropWhatIsPassed(log: Logger): Promise<void> {
    if (performance.now() < nextDropAtMs) return;
    const result = await dropOldestPartition(db, retention);
    // Several may be due after a long outage: the next one follows at the next tick.
    if (result.outcome !== 'dropped')
      nextDropAtMs = performance.now() + Math.max(everyMs, RETENTION_EVERY_MS);
    if (result.outcome === 'dropped')
      log.info({ partition: result.partition }, 'dropped a partition of the log');
    else if (result.outcome !== 'kept') log.debug(result, 'the oldest partition of the log is kept');
  }

  return {
    name: 'housekeeping',
    cadenceMs: everyMs,
    async tick({ log, progress }): Promise<TickResult> {
      try {
        const made = await createPartitionsAhead(db, options.partitionSize ?? PARTITION_SIZE);
        if (made > 0) log.info({ partitions: made }, 'made partitions of the log ahead');
        progress();
        if (await elected()) {
          show(await groupStatus(db));
          progress();
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
      const held = token;
      token = undefined;
      // Away or not, the lease ends by itself.
      if (held !== undefined)
        await releaseLease(db, { name: EXPORTER_LEASE, token: held }).catch(() => undefined);
    },
  };
}

function groupsPastLimit(statuses: readonly GroupStatus[], limitSeconds: number): string[] {
  const past = statuses.filter(({ lag, oldestAgeSeconds }) => lag > 0 && oldestAgeSeconds > limitSeconds);
  return [...new Set(past.map(({ group }) => group))];
}

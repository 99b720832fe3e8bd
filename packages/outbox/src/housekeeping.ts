// What the log needs done now and then: partitions ahead of the sequence, and the gauges of the groups read here.

import type { Loop, TickResult } from '@pulsebox/loop';
import type { Pool } from 'pg';
import { boundedQueries } from './bounded-queries.ts';
import { groupStatus } from './group-status.ts';
import type { OutboxMetrics } from './outbox-metrics.ts';
import { createPartitionsAhead } from './partitions.ts';

export interface HousekeepingOptions {
  readonly pool: Pool;
  /** The same as the relays': gauges are set for lanes that this process reads, so that no two pods count one twice. */
  readonly holder: string;
  readonly metrics: OutboxMetrics;
  /** Default 5,000. */
  readonly everyMs?: number;
}

export function housekeeping(options: HousekeepingOptions): Loop {
  const everyMs = options.everyMs ?? 5_000;
  // A database that answers nothing (a lost route, a frozen server) makes ticks fail; it must not make this loop stuck.
  const db = boundedQueries(options.pool, everyMs);
  return {
    name: 'housekeeping',
    cadenceMs: everyMs,
    async tick({ log, progress }): Promise<TickResult> {
      const made = await createPartitionsAhead(db);
      if (made > 0) log.info({ partitions: made }, 'made partitions of the log ahead');
      progress();
      const statuses = await groupStatus(db);
      options.metrics.setGroups(statuses.filter((status) => status.holder === options.holder));
      return { events: 0, nextInMs: everyMs };
    },
  };
}

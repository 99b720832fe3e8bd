// What the log needs done now and then: partitions ahead of the sequence, and the gauges of the groups read here.

import type { Loop, TickResult } from '@pulsebox/loop';
import type { Pool } from 'pg';
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
  return {
    name: 'housekeeping',
    cadenceMs: everyMs,
    async tick({ log }): Promise<TickResult> {
      const made = await createPartitionsAhead(options.pool);
      if (made > 0) log.info({ partitions: made }, 'made partitions of the log ahead');
      const statuses = await groupStatus(options.pool);
      options.metrics.setGroups(statuses.filter((status) => status.holder === options.holder));
      return { events: 0, nextInMs: everyMs };
    },
  };
}

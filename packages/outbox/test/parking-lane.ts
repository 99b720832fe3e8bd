// A group, its relay and its parked events, as tests of parking see them.

import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { afterAll } from 'vitest';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { leaseOf, relayDesk } from './relay-desk.ts';
import type { OfGroup, RelayDesk } from './relay-desk.ts';
import { quiet } from './relay-runner.ts';

export interface ParkedState {
  /** The label: what the event has for a payload. */
  readonly label: string;
  readonly state: 'parked' | 'dead';
  readonly attempts: number;
  readonly reasons: readonly string[];
  /** Milliseconds from its last failure to its next attempt, on the database's clock. */
  readonly waitMs: number | null;
  readonly attempting: boolean;
  readonly scheduled: boolean;
}

/** Its relays retry at once, and poll often. */
export interface ParkingLane extends RelayDesk {
  /** Who keeps the schedule of redrives for relays that are started from now on. At first `rows`: nobody else does. */
  schedule: 'rows' | 'pg-boss';
  /** Jobs of the lane's queue, by state. */
  timers(of: OfGroup): Promise<Record<string, number>>;
  parked(of: OfGroup): Promise<ParkedState[]>;
  delivered(of: OfGroup): Promise<number>;
}

const PARKED = `
  select payload #>> '{}' as label, state, attempts,
         array(select e ->> 'reason' from jsonb_array_elements(errors) e) as reasons,
         (extract(epoch from next_attempt_at - failed_at) * 1000)::float8 as "waitMs",
         attempting_since is not null as attempting, next_attempt_at is not null as scheduled
  from outbox.parked where group_name = $1 order by position`;

/** To be called where hooks are, once a file. */
export function parkingLane(): ParkingLane {
  const desk = relayDesk();
  let opened: Jobs | undefined;
  // Before the database is dropped: hooks that were added last run first.
  afterAll(async () => {
    await opened?.stop();
  });
  function jobs(): Jobs {
    opened ??= openJobs({ pool: desk.pool, log: quiet });
    return opened;
  }

  return {
    schedule: 'rows',
    get database() {
      return desk.database;
    },
    get pool() {
      return desk.pool;
    },
    start(options = {}) {
      return desk.start({
        retry: { firstMs: 1, longestMs: 1 },
        pause: { firstMs: 10, longestMs: 20 },
        ...(this.schedule === 'rows' ? {} : { jobs: jobs() }),
        ...options,
      });
    },
    reading: desk.reading,
    commit: desk.commit,
    cursor: desk.cursor,
    lease: desk.lease,
    takeOver: desk.takeOver,
    throughProxy: desk.throughProxy,
    closeLater: desk.closeLater,
    async timers(of) {
      const { rows } = await desk.pool.query<{ state: string; n: number }>(
        'select state::text, count(*)::int as n from pgboss.job where name = $1 group by state',
        [leaseOf(of)],
      );
      return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
    },
    async parked({ group }) {
      const { rows } = await desk.pool.query<ParkedState>(PARKED, [group]);
      return rows;
    },
    async delivered({ group }) {
      return (await loadCursor(desk.pool, { group, lane: 0 }))?.delivered ?? 0;
    },
  };
}

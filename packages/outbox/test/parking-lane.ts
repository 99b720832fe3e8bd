// A group, its relay and its parked events, as tests of parking see them.

import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { eventually } from '@pulsebox/test-support';
import { afterAll, expect } from 'vitest';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { leaseOf, relayDesk } from './relay-desk.ts';
import type { OfGroup, RelayDesk } from './relay-desk.ts';
import { quiet } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

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
  /** Waits until everything that was parked is delivered. */
  nothingParked(of: OfGroup): Promise<void>;
  /** Has dead letters tried again from the first attempt on, as a person does. */
  replay(of: OfGroup): Promise<void>;
  /** A reader that has noticed that it was replaced while it handed `k#1` over for the second time. */
  replacedInRedrive(options?: Partial<RunOptions>): Promise<RunningRelay>;
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
    async nothingParked(of) {
      await eventually(async () => (await this.parked(of)).length === 0);
    },
    async replay({ group }) {
      await desk.pool.query(
        `update outbox.parked set state = 'parked', attempts = 0, next_attempt_at = now()
         where group_name = $1 and state = 'dead'`,
        [group],
      );
    },
    async replacedInRedrive(options) {
      const entered = Promise.withResolvers<void>();
      const go = Promise.withResolvers<void>();
      let calls = 0;
      const one = this.start({
        ...options,
        handler: async () => {
          calls += 1;
          if (calls === 1) throw new Error('first');
          entered.resolve();
          await go.promise;
        },
      });
      await desk.reading(one);
      await desk.commit('k#1');
      await entered.promise;
      await desk.takeOver(one);
      go.resolve();
      await eventually(() => one.errors.length > 0);
      expect(one.errors[0]).toMatchObject({ code: 'OUTBOX_LEASE_LOST' });
      return one;
    },
  };
}

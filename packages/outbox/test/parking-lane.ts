// A group, its relay and its parked events, as tests of parking see them.

import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { acquireLease, createPool } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, inject } from 'vitest';
import { emitAll } from '../src/log/emit.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { quiet, runRelay } from './relay-runner.ts';
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

export interface ParkingLane {
  /** Who keeps the schedule of redrives for relays that are started from now on. At first `rows`: nobody else does. */
  schedule: 'rows' | 'pg-boss';
  /** Jobs of the lane's queue, by state. */
  timers(of: { readonly group: string }): Promise<Record<string, number>>;
  readonly database: TestDatabase;
  readonly pool: Pool;
  /** A relay that retries at once and polls often. */
  start(options?: Partial<RunOptions>): RunningRelay;
  /** Waits until it has taken its lease. */
  reading(one: RunningRelay): Promise<void>;
  commit(...labels: string[]): Promise<void>;
  parked(of: { readonly group: string }): Promise<ParkedState[]>;
  delivered(of: { readonly group: string }): Promise<number>;
  /** Takes the lease away as another worker does when its time is over. Returns the new token. */
  takeOver(of: { readonly group: string }): Promise<number>;
  throughProxy(): Promise<{ proxy: TcpProxy; pool: Pool }>;
}

const PARKED = `
  select payload #>> '{}' as label, state, attempts,
         array(select e ->> 'reason' from jsonb_array_elements(errors) e) as reasons,
         (extract(epoch from next_attempt_at - failed_at) * 1000)::float8 as "waitMs",
         attempting_since is not null as attempting, next_attempt_at is not null as scheduled
  from outbox.parked where group_name = $1 order by position`;

/** Sets up a database for the test file, and stops what its tests start. */
export function parkingLane(): ParkingLane {
  let database: TestDatabase;
  const running: RunningRelay[] = [];
  const closers: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'));
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map(async (one) => one.stop()));
    for (const close of closers.splice(0).toReversed()) await close();
    // A connection that a relay kept would starve the next test, and a worker in time.
    await eventually(() => database.pool.idleCount === database.pool.totalCount, {
      message: 'a connection of the pool is still in use',
    });
  });
  afterAll(async () => {
    await opened?.stop();
    await database.drop();
  });

  let opened: Jobs | undefined;
  function jobs(): Jobs {
    opened ??= openJobs({ pool: database.pool, log: quiet });
    return opened;
  }

  return {
    schedule: 'rows',
    async timers({ group }) {
      const { rows } = await database.pool.query<{ state: string; n: number }>(
        'select state::text, count(*)::int as n from pgboss.job where name = $1 group by state',
        [laneLeaseName({ group, lane: 0 })],
      );
      return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
    },
    get database() {
      return database;
    },
    get pool() {
      return database.pool;
    },
    start(options = {}) {
      const one = runRelay({
        pool: database.pool,
        startFrom: 'end',
        retry: { firstMs: 1, longestMs: 1 },
        pause: { firstMs: 10, longestMs: 20 },
        ...(this.schedule === 'rows' ? {} : { jobs: jobs() }),
        ...options,
      });
      running.push(one);
      return one;
    },
    async reading({ group, ticks }) {
      const name = laneLeaseName({ group, lane: 0 });
      await eventually(async () => {
        const { rows } = await database.pool.query(
          'select from pulsebox.lease where name = $1 and holder is not null',
          [name],
        );
        return rows.length === 1 && ticks() > 0;
      });
    },
    async commit(...labels) {
      const events = labels.map((label) => ({
        topic: 'test.written',
        key: label.includes('#') ? label.split('#')[0]! : null,
        payload: label,
      }));
      await emitAll(database.pool, events, { autocommit: true });
    },
    async parked({ group }) {
      const { rows } = await database.pool.query<ParkedState>(PARKED, [group]);
      return rows;
    },
    async delivered({ group }) {
      return (await loadCursor(database.pool, { group, lane: 0 }))?.delivered ?? 0;
    },
    async takeOver({ group }) {
      const name = laneLeaseName({ group, lane: 0 });
      await database.pool.query(
        `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
        [name],
      );
      const attempt = await acquireLease(database.pool, { name, holder: 'thief', ttlMs: 60_000 });
      if (!attempt.acquired) throw new Error('not taken');
      return attempt.token;
    },
    async throughProxy() {
      const proxy = await tcpProxy(database.url);
      const connection = { connectionString: proxy.url, connectionTimeoutMillis: 1_000 };
      const proxied = createPool({ connection, onIdleError: () => undefined });
      closers.push(
        async () => proxy.close(),
        async () => proxied.end(),
      );
      return { proxy, pool: proxied };
    },
  };
}

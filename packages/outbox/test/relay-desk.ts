// A database with relays on it, for a test file: they are stopped after each test, and leave no connection behind.

import { acquireLease, createPool, transaction } from '@pulsebox/postgres';
import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, inject } from 'vitest';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import type { StoredCursor } from '../src/lease/store-cursor.ts';
import { emitAll } from '../src/log/emit.ts';
import { runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

/** Of a group with one lane. */
export interface OfGroup {
  readonly group: string;
}

export interface RelayDesk {
  readonly database: TestDatabase;
  readonly pool: Pool;
  /** New groups start at the end, so that tests do not read each other's events. */
  start(options?: Partial<RunOptions>): RunningRelay;
  /** Waits until it has taken its lease. */
  reading(one: RunningRelay): Promise<void>;
  /** Labels are `key#n`, or without a key. */
  commit(...labels: string[]): Promise<void>;
  cursor(of: OfGroup): Promise<StoredCursor>;
  /** Undefined: nobody holds it. */
  lease(of: OfGroup): Promise<{ readonly holder: string; readonly token: number } | undefined>;
  /** Takes the lease away as another worker does when its time is over. Returns the new token. */
  takeOver(of: OfGroup): Promise<number>;
  /** A pool whose connections a test can break. */
  throughProxy(): Promise<{ readonly proxy: TcpProxy; readonly pool: Pool }>;
  /** After the test, once its relays have stopped. */
  closeLater(close: () => Promise<void>): void;
}

export function leaseOf({ group }: OfGroup): string {
  return laneLeaseName({ group, lane: 0 });
}

/** To be called where hooks are, once a file. */
export function relayDesk(): RelayDesk {
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
    await database.drop();
  });

  async function lease(of: OfGroup): ReturnType<RelayDesk['lease']> {
    const { rows } = await database.pool.query<{ holder: string; token: number }>(
      'select holder, token::float8 as token from pulsebox.lease where name = $1 and holder is not null',
      [leaseOf(of)],
    );
    return rows[0];
  }

  return {
    get database() {
      return database;
    },
    get pool() {
      return database.pool;
    },
    start(options = {}) {
      const one = runRelay({ pool: database.pool, startFrom: 'end', ...options });
      running.push(one);
      return one;
    },
    async reading(one) {
      await eventually(async () => (await lease(one)) !== undefined && one.ticks() > 0);
    },
    async commit(...labels) {
      const events = labels.map((label) => ({
        topic: 'test.written',
        key: label.includes('#') ? label.split('#')[0]! : null,
        payload: label,
      }));
      await emitAll(database.pool, events, { autocommit: true });
    },
    async cursor({ group }) {
      const stored = await loadCursor(database.pool, { group, lane: 0 });
      if (stored === undefined) throw new Error('no cursor');
      return stored;
    },
    lease,
    async takeOver(of) {
      const name = leaseOf(of);
      // One transaction: between two, its holder may renew.
      return await transaction(database.pool, async (client) => {
        await client.query(
          `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
          [name],
        );
        const attempt = await acquireLease(client, { name, holder: 'thief', ttlMs: 60_000 });
        if (!attempt.acquired) throw new Error('not taken');
        return attempt.token;
      });
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
    closeLater: (close) => void closers.push(close),
  };
}

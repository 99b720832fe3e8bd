// What a lane's reader asks about parked events, with 200,000 of them, half of them behind one dead letter: analysed,
// and never analysed.

import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { CLEAR_ATTEMPT, LOAD_ATTEMPT, MARK_ATTEMPT } from '../src/parked/attempt.ts';
import { registerGroup } from '../src/group/consumer-group.ts';
import { FIRST_PARKED_OF_KEYS } from '../src/parked/park-keys.ts';
import { STORE_CURSOR_AND_PARK } from '../src/parked/park.ts';
import { CLAIM_PARKED, INTERRUPTED_ATTEMPTS, UNDO_CLAIM } from '../src/parked/redrive-claim.ts';
import { HAS_PARKED, LOOK_AT_DUE } from '../src/parked/redrive-due.ts';
import { FOLLOWERS } from '../src/parked/redrive-followers.ts';
import { RELEASE_WAITING } from '../src/parked/release-waiting.ts';
import { SETTLE_PARKED } from '../src/parked/redrive-settle.ts';
import { planOf } from './plan.ts';
import type { Plan } from './plan.ts';

const ROWS = 200_000;
const DUE = 600;
const SCHEDULED = 10_000;
const LIMIT = 501;
const LEASE = 'outbox/big/0';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  const { pool } = database;
  for (const table of ['parked', 'attempt'])
    await pool.query(`alter table outbox.${table} set (autovacuum_enabled = off)`);
  for (const group of ['big', 'small']) await registerGroup(pool, group, 'end');
  await acquireLease(pool, { name: LEASE, holder: 'test', ttlMs: 600_000 });
  await pool.query(
    `insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at, state, attempts, next_attempt_at)
     select 'big', n, 'item.upserted', case when n % 2 = 0 then 'hot' else 'item:' || n % 20000 end,
            jsonb_build_object('text', repeat('x', 100)), '{}', now(), case when n = 2 then 'dead' else 'parked' end, 0,
            case when n % 2 = 1 and n < 20000
                 then now() + case when n <= 2 * $2::int then - interval '1 minute' else interval '1 hour' end end
     from generate_series(1, $1::int) n`,
    [ROWS, DUE],
  );
  await pool.query(`update outbox.parked set attempting_since = now() where position in (1, 3)`);
  await pool.query(
    `insert into outbox.event (topic, key, payload) select 't', 'hot', '{}' from generate_series(1, 1000)`,
  );
});

afterAll(async () => {
  await database.drop();
});

async function plan(sql: string, values: readonly unknown[]): Promise<Plan> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    return await planOf(client, sql, values);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

function expectFrugal(of: Plan, pages: number, sortedRows = LIMIT): void {
  expect(of.scannedTables.filter((table) => table === 'parked' || table.startsWith('event'))).toEqual([]);
  expect(of.pages).toBeLessThan(pages);
  expect(of.sortedRows).toBeLessThanOrEqual(sortedRows);
}

const positions = Array.from({ length: 500 }, (_, n) => 2 * n + 1);

describe.each(['never analysed', 'analysed'])('%s', (when) => {
  beforeAll(async () => {
    if (when === 'analysed') await database.pool.query('vacuum (analyze)');
  });

  test.each([true, false])(
    'LOOK_AT_DUE finds what is due by time, one probe a row (order kept: %s)',
    async (kept) => {
      const found = await plan(LOOK_AT_DUE, ['big', 0, kept, LIMIT]);
      // Without statistics a group is taken for a few rows: until the first analyse, all that is scheduled is sorted.
      const analysed = when === 'analysed';
      expectFrugal(found, analysed ? 2_500 : 10_000, analysed ? LIMIT : SCHEDULED);
      if (analysed) expect(found.indexes).toContain('parked_due');
    },
  );

  test('LOOK_AT_DUE of a group without parked events looks at a page or two', async () => {
    expectFrugal(await plan(LOOK_AT_DUE, ['small', 0, true, LIMIT]), 15);
    expectFrugal(await plan(HAS_PARKED, ['small']), 8);
    expectFrugal(await plan(HAS_PARKED, ['big']), 8);
  });

  test('FIRST_PARKED_OF_KEYS probes once a key, however much waits behind it', async () => {
    const keys = ['hot', ...Array.from({ length: 499 }, (_, n) => `item:${2 * n + 1}`)];
    const found = await plan(FIRST_PARKED_OF_KEYS, ['big', keys]);
    expectFrugal(found, 3_000);
    expect(found.indexes).toEqual(['parked_key']);
  });

  test('FOLLOWERS goes along a key from its first event, however much waits behind it', async () => {
    const behindOne = await plan(FOLLOWERS, ['big', [4], 499]);
    expectFrugal(behindOne, 1_500);
    expect(behindOne.indexes.toSorted()).toEqual(['parked_key', 'parked_pkey']);
    expectFrugal(await plan(FOLLOWERS, ['big', positions.slice(0, 250), 1]), 5_000);
  });

  test('RELEASE_WAITING looks at one stretch of what is parked, by position', async () => {
    const found = await plan(RELEASE_WAITING, ['big', 0, LEASE, 1, 100_000, 1_000]);
    expectFrugal(found, 40_000, 1_000);
    expect(found.indexes).toContain('parked_pkey');
  });

  test('claims, settles and undoes by key', async () => {
    const lease = ['big', LEASE, 1];
    const failed = positions
      .slice(0, 100)
      .map((position) => ({ position, state: 'parked', waitMs: 1, reason: 'x' }));
    expectFrugal(await plan(CLAIM_PARKED, [...lease, positions]), 25_000);
    expectFrugal(await plan(UNDO_CLAIM, [...lease, positions]), 15_000);
    const settled = await plan(SETTLE_PARKED, [
      ...lease,
      positions.slice(200),
      JSON.stringify(failed),
      positions.slice(100, 200),
    ]);
    expectFrugal(settled, 25_000);
    expectFrugal(await plan(INTERRUPTED_ATTEMPTS, ['big', 0]), 40);
  });

  test('STORE_CURSOR_AND_PARK copies by position, and looks for one event in front of each key', async () => {
    const cursor = ['big', 0, 1, 7, 1, '1:1:', '1', null, null, null, 1, LEASE];
    const events = Array.from({ length: 500 }, (_, n) => ({
      position: n + 1 + 300,
      state: 'parked',
      attempts: 0,
      first: n === 0,
    }));
    const found = await plan(STORE_CURSOR_AND_PARK, [...cursor, JSON.stringify(events)]);
    expectFrugal(found, 25_000);
  });

  test('marks of attempts are found by key', async () => {
    await plan(LOAD_ATTEMPT, ['big', 0]);
    expect((await plan(MARK_ATTEMPT, ['big', 0, 1, 1, LEASE, 1])).pages).toBeLessThan(30);
    expect((await plan(CLEAR_ATTEMPT, ['big', 0, LEASE, 1])).pages).toBeLessThan(30);
  });
});

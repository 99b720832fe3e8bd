// What `pulsebox dead` and the gauges cost with 300,000 parked events: analysed, and never analysed.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { DEAD_COUNTS, PARKED_COUNTED_EXACTLY } from '../src/dead/dead-counts.ts';
import type { DeadCounts } from '../src/dead/dead-counts.ts';
import { DISCARD_CHUNK } from '../src/dead/dead-discard.ts';
import { LIST_NEWEST, LIST_OLDEST } from '../src/dead/dead-list.ts';
import { REPLAY_CHUNK } from '../src/dead/dead-replay.ts';
import { CHUNK_ROWS, POSITIONS } from '../src/dead/dead-selection.ts';
import { planOf } from './plan.ts';

const IN_BIG = 250_000;
const DEAD_IN_BIG = 2_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  const { pool } = database;
  await pool.query('alter table outbox.parked set (autovacuum_enabled = off)');
  for (const group of ['big', 'small', 'well']) await registerGroup(pool, group, 'end');
  const write = `
    insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at, state, failed_at, next_attempt_at)
    select $1, n, 'item.upserted', 'item:' || n % $2::int, jsonb_build_object('text', repeat('x', 100)), '{}', now(),
           case when n % 125 = 0 then 'dead' else 'parked' end, now() - n * interval '1 second',
           case when n % 2 = 1 then now() + interval '1 hour' end
    from generate_series(1, $3::int) n`;
  await pool.query(write, ['big', 1_000, IN_BIG]);
  await pool.query(write, ['small', 50, 5_000]);
});

afterAll(async () => {
  await database.drop();
});

const NO_FILTER = [null, null, null, null, null, null, null];
const inBig = ['big', ...NO_FILTER.slice(1)];

describe.each(['never analysed', 'analysed'])('%s', (when) => {
  beforeAll(async () => {
    if (when === 'analysed') await database.pool.query('vacuum (analyze) outbox.parked');
  });

  test('the gauges look at so many index entries of a group and no more', async () => {
    const plan = await planOf(database.pool, DEAD_COUNTS, []);
    expect(plan.scannedTables.filter((table) => table === 'parked')).toEqual([]);
    expect(plan.indexes).toEqual(expect.arrayContaining(['parked_dead', 'parked_pkey']));
    expect(Math.max(...plan.nodes.map((node) => node['Actual Rows']))).toBeLessThanOrEqual(
      PARKED_COUNTED_EXACTLY,
    );
    const { rows } = await database.pool.query<DeadCounts>(DEAD_COUNTS);
    expect(rows).toMatchObject([
      { group: 'big', parked: PARKED_COUNTED_EXACTLY - DEAD_IN_BIG, dead: DEAD_IN_BIG },
      { group: 'small', parked: 4_960, dead: 40 },
    ]);
    expect(Math.round((rows[1]?.oldestDeadAgeSeconds ?? 0) / 100)).toBe(50);
  });

  test.each([
    ['newest', LIST_NEWEST],
    ['oldest', LIST_OLDEST],
  ])('a page of the dead letters of a group, %s first, reads those alone', async (_first, sql) => {
    const plan = await planOf(database.pool, sql, [...inBig, 'dead', null, null, null, 51]);
    expect(plan.scannedTables).not.toContain('parked');
    expect(plan.indexes).toContain('parked_dead');
    expect(plan.sortedRows).toBeLessThanOrEqual(DEAD_IN_BIG);
  });

  test('what a replay of a group goes through is looked up without what is not dead', async () => {
    const plan = await planOf(database.pool, POSITIONS, [...inBig, 'big', 'dead', 0]);
    expect(plan.scannedTables).not.toContain('parked');
    expect(plan.indexes).toContain('parked_dead');
    expect(plan.sortedRows).toBeLessThanOrEqual(DEAD_IN_BIG);
  });

  test('single ids are looked up by themselves, where there are statistics', async () => {
    const byId = [null, null, null, null, null, ['big', 'small'], [125, 250]];
    const plan = await planOf(database.pool, POSITIONS, [...byId, 'big', 'dead', 0]);
    expect(plan.scannedTables).not.toContain('parked');
    expect(plan.pages).toBeLessThan(when === 'analysed' ? 50 : 2 * DEAD_IN_BIG);
  });

  test.each([
    ['replayed', REPLAY_CHUNK, []],
    ['discarded', DISCARD_CHUNK, ['dead']],
  ])('a chunk is %s by the primary key', async (_what, sql, state) => {
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      const positions = Array.from({ length: CHUNK_ROWS }, (_, n) => (n + 1) * 125);
      const plan = await planOf(client, sql, ['big', positions, ...state]);
      expect(plan.scannedTables).not.toContain('parked');
      expect(plan.indexes).toContain('parked_pkey');
      expect(plan.indexes).not.toContain('parked_dead');
      expect(plan.indexes).not.toContain('parked_key');
      expect(plan.sortedRows).toBe(0);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });
});

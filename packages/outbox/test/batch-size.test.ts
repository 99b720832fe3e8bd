// A batch is bounded in bytes as well as in events: what it leaves out comes with the next one.

import { createPool } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import type { QueryConfig } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import type { Cursor } from '../src/read/cursor.ts';
import { READ_BATCH } from '../src/read/look-at-log.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { READ_NEW } from '../src/read/read-new.ts';
import type { LaneSlice } from '../src/read/batch.ts';
import { readToBarrier } from '../src/read/read-to-barrier.ts';
import { emitAll } from '../src/log/emit.ts';
import { labelOf } from './log-reader.ts';
import { runRelay } from './relay-runner.ts';
import type { RunningRelay } from './relay-runner.ts';
import { openWriter } from './writer.ts';

const MIB = 1_048_576;
let database: TestDatabase;
const running: RunningRelay[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
});
afterAll(async () => {
  await database.drop();
});

async function newGroup(): Promise<{ group: string; cursor: Cursor }> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(database.pool, group, 'end');
  return { group, cursor: (await loadCursor(database.pool, { group, lane: 0 }))!.cursor };
}

/** Ten characters of payload each, and two of headers. */
async function commit(from: number, to: number): Promise<string[]> {
  const labels = Array.from({ length: to - from + 1 }, (_, n) => `k#${String(from + n).padStart(6, '0')}`);
  const events = labels.map((label) => ({ topic: 't.e', key: 'k', payload: label }));
  await emitAll(database.pool, events, { autocommit: true });
  return labels;
}

/** The sizes of the batches up to the end of the log, and what was in them. */
async function drain(
  cursor: Cursor,
  most: { readonly events: number; readonly characters: number },
  slice?: LaneSlice,
): Promise<{ sizes: number[]; labels: string[] }> {
  const sizes: number[] = [];
  const labels: string[] = [];
  for (let from = cursor; ; ) {
    const batch = await readBatch(database.pool, from, most, slice);
    if (batch.events.length === 0 && batch.reached === 'end') return { sizes, labels };
    if (batch.events.length > 0) sizes.push(batch.events.length);
    labels.push(...batch.events.map(labelOf));
    from = batch.next;
  }
}

const CASES: readonly [string, LaneSlice | undefined][] = [
  ['of one lane', undefined],
  ['of a lane of several', { lane: 0, lanes: 3 }],
];

/** The key is chosen so that it is in the lane that is read. */
async function laneOfKey(lanes: number): Promise<number> {
  const { rows } = await database.pool.query<{ lane: number }>('select outbox.lane_of($1, 1, $2) as lane', [
    'k',
    lanes,
  ]);
  return rows[0]!.lane;
}

describe.each(CASES)('a batch %s', (_what, given) => {
  async function slice(): Promise<LaneSlice | undefined> {
    return given === undefined ? undefined : { ...given, lane: await laneOfKey(given.lanes) };
  }

  test('ends with the event that goes beyond its size, and the next one goes on from there', async () => {
    const { cursor } = await newGroup();
    const written = await commit(1, 10);
    const { sizes, labels } = await drain(cursor, { events: 100, characters: 30 }, await slice());
    expect(sizes).toEqual([3, 3, 3, 1]);
    expect(labels).toEqual(written);
  });

  test('has one event at least, however large', async () => {
    const { cursor } = await newGroup();
    const written = await commit(1, 4);
    const { sizes, labels } = await drain(cursor, { events: 100, characters: 0 }, await slice());
    expect(sizes).toEqual([1, 1, 1, 1]);
    expect(labels).toEqual(written);
  });

  test('of late events and new ones is cut anywhere, in order, and loses none', async () => {
    for (const characters of [1, 13, 25, 40, 61, 1_000]) {
      const { cursor: start } = await newGroup();
      const writer = await openWriter(database.pool);
      try {
        const late = Array.from({ length: 5 }, (_, n) => `k#10000${n}`);
        await writer.emit(...late);
        await commit(1, 1);
        const first = await readBatch(database.pool, start, 10, await slice());
        await writer.commit();
        const fresh = await commit(2, 6);
        const { labels } = await drain(first.next, { events: 4, characters }, await slice());
        expect(labels).toEqual([...late, ...fresh]);
      } finally {
        await writer.close();
      }
    }
  });

  test('on the way to a barrier is cut as well', async () => {
    const { cursor } = await newGroup();
    const written = await commit(1, 10);
    const { rows } = await database.pool.query<{ position: number; snapshot: string; ceiling: string }>(
      `select max(seq)::float8 as position, pg_current_snapshot()::text as snapshot,
              pg_current_xact_id()::text as ceiling from outbox.event`,
    );
    const labels: string[] = [];
    for (let from = cursor; ; ) {
      const batch = await readToBarrier(
        database.pool,
        from,
        { ...rows[0]!, floor: 0 },
        { events: 100, characters: 30 },
        (await slice()) ?? { lane: 0, lanes: 1 },
      );
      expect(batch.events.length).toBeLessThanOrEqual(3);
      labels.push(...batch.events.map(labelOf));
      from = batch.next;
      if (batch.reached === 'barrier') break;
    }
    expect(labels).toEqual(written);
  });
});

describe('a relay', () => {
  /** Of a mebibyte each. */
  async function large(count: number): Promise<void> {
    await database.pool.query(
      `insert into outbox.event (topic, key, payload)
       select 't.large', 'k' || n, jsonb_build_object('n', n, 'text', repeat(md5(n::text), $2::int / 32))
       from generate_series(1, $1::int) n`,
      [count, MIB],
    );
  }

  function start(group: string, handler: (events: number, characters: number) => void): RunningRelay {
    const one = runRelay({
      pool: database.pool,
      group,
      handler: (_labels, { events }) => {
        handler(events.length, JSON.stringify(events.map(({ payload }) => payload)).length);
      },
    });
    running.push(one);
    return one;
  }

  test('holds no more of large events than 16 MiB and one, and goes back to whole batches of small ones', async () => {
    const { group } = await newGroup();
    await large(70);
    await commit(1, 1_200);
    const calls: { events: number; characters: number }[] = [];
    start(group, (events, characters) => calls.push({ events, characters }));
    await eventually(() => calls.reduce((sum, { events }) => sum + events, 0) >= 1_270);
    expect(calls.reduce((sum, { events }) => sum + events, 0)).toBe(1_270);
    for (const { characters } of calls) expect(characters).toBeLessThan(17.1 * MIB);
    expect(calls.filter(({ events }) => events >= 400).length).toBeGreaterThan(0);
  });

  test('takes no more of parked ones either, and gives back what is too much, in order', async () => {
    const { group } = await newGroup();
    let fails = true;
    const calls: number[] = [];
    const numbers: unknown[] = [];
    const one = runRelay({
      pool: database.pool,
      group,
      maxAttempts: 1,
      handler: (_labels, { events }) => {
        if (fails)
          return { failed: events.map(({ position }) => ({ position, reason: 'no', retryable: false })) };
        calls.push(events.length);
        numbers.push(...events.map(({ payload }) => (payload as { n: number }).n));
        return undefined;
      },
    });
    running.push(one);
    await database.pool.query(
      `insert into outbox.event (topic, key, payload)
       select 't.large', 'k', jsonb_build_object('n', n, 'text', repeat(md5(n::text), $1::int / 32))
       from generate_series(1, 40) n`,
      [MIB],
    );
    await eventually(async () => {
      const { rows } = await database.pool.query('select from outbox.parked where group_name = $1', [group]);
      return rows.length === 40;
    });
    fails = false;
    await database.pool.query(
      `update outbox.parked set state = 'parked', attempts = 0, next_attempt_at = now()
       where group_name = $1 and state = 'dead'`,
      [group],
    );
    await eventually(() => numbers.length >= 40);
    expect(numbers).toEqual(Array.from({ length: 40 }, (_, n) => n + 1));
    expect(Math.max(...calls)).toBeLessThanOrEqual(17);
    expect(calls.length).toBeLessThan(8);
    expect(one.errors).toEqual([]);
  });

  test('is asked for in smaller parts when the server cannot send so many', async () => {
    const { group } = await newGroup();
    const pool = createPool({ connection: { connectionString: database.url }, onIdleError: () => undefined });
    const refused: number[] = [];
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (config: unknown, values?: unknown) => Promise<unknown>;
      const selective = async (config: Partial<QueryConfig>, values?: unknown): Promise<unknown> => {
        const isRead = config.text === READ_NEW || config.text === READ_BATCH;
        const most = isRead ? Number(config.values?.at(-1)) : 0;
        if (most <= 10) return await query(config, values);
        refused.push(most);
        throw new Error('string buffer exceeds maximum allowed length');
      };
      Reflect.set(client, 'query', selective);
    });
    const labels = await commit(1, 25);
    const one = runRelay({ pool, group, batchSize: 100 });
    running.push(one);
    await eventually(() => one.handled.flat().length >= 25);
    expect(one.handled.flat()).toEqual(labels);
    expect(refused.slice(0, 2)).toEqual([100, 25]);
    await one.stop();
    await pool.end();
  });
});

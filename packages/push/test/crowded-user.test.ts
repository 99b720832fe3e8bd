// A user who subscribes without end: nobody's memory fills, nobody is left out, and pages do not grow dearer.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fanOut, SELECT_DELIVERIES } from '../src/fan-out.ts';
import { createMessage } from '../src/message.ts';

const CROWD = 100_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await database.pool.query(
    `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
     select case when n % 10001 = 0 then 'ann' else 'mallory' end, 'https://push.example/' || n,
            repeat('a', 87), repeat('b', 22)
     from generate_series(1, $1::int) n`,
    [CROWD],
  );
  await database.pool.query('analyze app.push_subscriptions');
});
afterAll(async () => {
  await database.drop();
});

const message = createMessage({ title: 'x' });

test('all of a hundred thousand subscriptions come once, a page at a time, and the next user after them', async () => {
  const requests = ['mallory', 'ann', 'mallory'].map((userId, n) => ({
    position: n + 1,
    userId,
    message,
    createdAtMs: Date.now(),
  }));
  const seen = new Map<number, Set<number>>();
  let largest = 0;
  for await (const { deliveries } of fanOut(database.pool, requests)) {
    largest = Math.max(largest, deliveries.length);
    for (const { position, subscriptionId } of deliveries) {
      const known = seen.get(position) ?? new Set();
      expect(known.has(subscriptionId)).toBe(false);
      seen.set(position, known.add(subscriptionId));
    }
  }
  const anns = Math.floor(CROWD / 10_001);
  expect([...seen].map(([position, { size }]) => [position, size])).toEqual([
    [1, CROWD - anns],
    [2, anns],
    [3, CROWD - anns],
  ]);
  expect(largest).toBe(5_000);
});

test('the last page costs what the first one does', async () => {
  const pagesRead = async (after: number): Promise<number> => {
    const { rows } = await database.pool.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
      `explain (analyze, buffers, timing off, format json) ${SELECT_DELIVERIES}`,
      [[1], ['mallory'], 1, after, 1_000],
    );
    const plan = rows[0]?.['QUERY PLAN'][0]?.Plan ?? {};
    return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
  };
  const first = await pagesRead(0);
  expect(await pagesRead(CROWD - 2_000)).toBeLessThan(2 * first + 50);
});

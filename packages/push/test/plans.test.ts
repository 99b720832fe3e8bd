// The plans of what is asked often, on tables that are large enough to show them.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { SELECT_DELIVERIES, SELECT_EVERYBODY } from '../src/fan-out.ts';
import { FORGET_EXPIRED } from '../src/forget-records.ts';
import { RECORD_DELIVERIES } from '../src/record-deliveries.ts';
import { SELECT_WAITING } from '../src/retry-handler.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await database.pool.query(`
    insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
      select 'user ' || n / 3, 'https://push.example/' || n, repeat('a', 87), repeat('b', 22)
      from generate_series(1, 60000) n;
    insert into push.delivery (position, subscription_id, outcome, topic, expires_at)
      select n / 60, n, case when n % 50 = 0 then 'waiting' else 'sent' end, case when n % 10 = 0 then 'score' end,
             now() + n * interval '1 second'
      from generate_series(1, 60000) n;
    analyze app.push_subscriptions; analyze push.delivery`);
});
afterAll(async () => {
  await database.drop();
});

async function planOf(sql: string, parameters: readonly unknown[]): Promise<string> {
  const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${sql}`, [
    ...parameters,
  ]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

const users = Array.from({ length: 500 }, (_, n) => `user ${n * 7}`);
const positions = users.map((_, n) => 100_000 + n);

test('the subscriptions of a batch are found by their users, whatever else there is', async () => {
  const plan = await planOf(SELECT_DELIVERIES, [positions, users, 0, 0, 5_000]);
  expect(plan).toMatch(/push_subscription_user/);
  expect(plan).not.toMatch(/Seq Scan on (push_subscriptions|delivery)/);
});

test('everybody is read page by page, in the order of the key', async () => {
  const plan = await planOf(SELECT_EVERYBODY, [500, 30_000, 1_000, false]);
  expect(plan).toMatch(/Index Scan using push_subscriptions_pkey/);
  expect(plan).not.toMatch(/Seq Scan|Sort/);
});

test('outcomes are written by key', async () => {
  const given = users.slice(0, 64);
  const plan = await planOf(RECORD_DELIVERIES, [
    given.map((_, n) => n),
    given.map((_, n) => n),
    given.map((_, n) => (n === 3 ? 'gone' : 'sent')),
    given.map(() => null),
    given.map(() => Date.now()),
    given.map(() => 'a'),
    given.map(() => 'b'),
  ]);
  expect(plan).toMatch(/push_subscriptions_pkey/);
  expect(plan).not.toMatch(/Seq Scan on (push_subscriptions|delivery)/);
});

test('a waiting delivery and a later one of its topic are found by index', async () => {
  const plan = await planOf(SELECT_WAITING, [10, 600, 'score', 'user 200']);
  expect(plan).toMatch(/delivery_pkey/);
  expect(plan).toMatch(/delivery_topic/);
  expect(plan).not.toMatch(/Seq Scan/);
});

test('what has expired is found without a look at the rest', async () => {
  const plan = await planOf(FORGET_EXPIRED, [10_000]);
  expect(plan).toMatch(/delivery_expires_at/);
  expect(plan).not.toMatch(/Seq Scan/);
});

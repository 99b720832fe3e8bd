import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { acquireLease, candidacy } from '../src/index.ts';
import type { Queryable } from '../src/index.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

const ttlMs = 600_000;

test('of two, one is elected until it resigns', async () => {
  const { pool } = database;
  const [one, two] = [
    candidacy({ name: 'a', holder: 'one', ttlMs }),
    candidacy({ name: 'a', holder: 'two', ttlMs }),
  ];
  expect([await one.isElected(pool), await two.isElected(pool)]).toEqual([true, false]);
  expect([await one.isElected(pool), await two.isElected(pool)]).toEqual([true, false]);
  await one.resign(pool);
  expect([await two.isElected(pool), await one.isElected(pool)]).toEqual([true, false]);
});

test('one whose time ran out finds that another has it', async () => {
  const { pool } = database;
  const one = candidacy({ name: 'b', holder: 'one', ttlMs });
  expect(await one.isElected(pool)).toBe(true);
  await pool.query(`update pulsebox.lease set expires_at = now() - interval '1 s' where name = 'b'`);
  expect(await acquireLease(pool, { name: 'b', holder: 'two', ttlMs })).toMatchObject({ acquired: true });
  expect(await one.isElected(pool)).toBe(false);
  // What is no longer its own it does not give back.
  await one.resign(pool);
  expect(await acquireLease(pool, { name: 'b', holder: 'three', ttlMs })).toMatchObject({ heldBy: 'two' });
});

test('resigning is safe before an election, twice, and without a database', async () => {
  const { pool } = database;
  const one = candidacy({ name: 'c', holder: 'one', ttlMs });
  await one.resign(pool);
  await one.isElected(pool);
  const away = { query: () => Promise.reject(new Error('away')) } as unknown as Queryable;
  await one.resign(away);
  await one.resign(away);
});

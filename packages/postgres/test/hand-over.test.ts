import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { acquireLease, handLeaseOver, requestHandover } from '../src/lease.ts';
import type { LeaseAttempt } from '../src/lease.ts';

const name = 'handed-over';
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

async function acquire(holder: string): Promise<LeaseAttempt> {
  return await acquireLease(database.pool, { name, holder, ttlMs: 60_000 });
}

async function tokenOf(holder: string): Promise<number> {
  const attempt = await acquire(holder);
  if (!attempt.acquired) throw new Error(`${holder} has not got it`);
  return attempt.token;
}

test('a lease handed over goes to the one who asked, and to nobody who is faster', async () => {
  const token = await tokenOf('one');
  await requestHandover(database.pool, { name, wantedBy: 'two' });
  expect(await handLeaseOver(database.pool, { name, token, forMs: 60_000 })).toBe(true);
  expect(await acquire('three')).toMatchObject({ acquired: false, heldBy: 'nobody' });
  expect(await acquire('one')).toMatchObject({ acquired: false });
  expect(await acquire('two')).toEqual({ acquired: true, token: token + 1, tookOver: false });
  // The old one cannot hand it over a second time, and the reservation is over.
  expect(await handLeaseOver(database.pool, { name, token, forMs: 60_000 })).toBe(false);
  await handLeaseOver(database.pool, { name, token: token + 1, forMs: 60_000 });
  expect(await tokenOf('three')).toBe(token + 2);
  await handLeaseOver(database.pool, { name, token: token + 2, forMs: 60_000 });
});

test('one that is not fetched in time is anybody’s', async () => {
  const token = await tokenOf('one');
  await requestHandover(database.pool, { name, wantedBy: 'two' });
  await handLeaseOver(database.pool, { name, token, forMs: -1 });
  expect(await tokenOf('three')).toBe(token + 1);
});

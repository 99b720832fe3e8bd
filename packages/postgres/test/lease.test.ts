import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { acquireLease, releaseLease, renewLease, requestHandover } from '../src/lease.ts';
import type { LeaseAttempt } from '../src/lease.ts';

let database: TestDatabase;
let name: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
beforeEach(() => {
  name = `lease-${crypto.randomUUID()}`;
});
afterAll(async () => {
  await database.drop();
});

async function acquire(holder: string, ttlMs = 60_000): Promise<LeaseAttempt> {
  return await acquireLease(database.pool, { name, holder, ttlMs });
}

test('one of many who ask at once gets it, also when it was never there before', async () => {
  for (let round = 1; round <= 5; round += 1) {
    const attempts = await Promise.all(Array.from({ length: 10 }, async (_, n) => acquire(`h${n}`)));
    const winners = attempts.filter((attempt) => attempt.acquired);
    expect(winners).toEqual([{ acquired: true, token: round, tookOver: false }]);
    expect(await releaseLease(database.pool, { name, token: round })).toBe(true);
  }
});

test('says who holds it, and for how long yet', async () => {
  await acquire('one', 60_000);
  const attempt = await acquire('two');
  if (attempt.acquired) throw new Error('held by two');
  expect(attempt.heldBy).toBe('one');
  expect(attempt.expiresInMs).toBeGreaterThan(50_000);
  expect(attempt.expiresInMs).toBeLessThanOrEqual(60_000);
});

test('is not given twice to the same holder', async () => {
  await acquire('one');
  expect(await acquire('one')).toMatchObject({ acquired: false, heldBy: 'one' });
});

test('is free when its time is over, on the clock of the server', async () => {
  await acquire('one', 50);
  const token = await eventually(async () => {
    const attempt = await acquire('two');
    return attempt.acquired && attempt.token;
  });
  expect(token).toBe(2);
  expect(await renewLease(database.pool, { name, token: 1, ttlMs: 1_000 })).toEqual({
    renewed: false,
    reason: 'fenced',
  });
});

test('may be renewed after its time for as long as nobody took it', async () => {
  await acquire('one', 0);
  expect(await renewLease(database.pool, { name, token: 1, ttlMs: 60_000 })).toEqual({
    renewed: true,
    wantedBy: null,
  });
  expect(await acquire('two')).toMatchObject({ acquired: false });
});

test('is given back by its holder only, and once', async () => {
  await acquire('one');
  expect(await releaseLease(database.pool, { name, token: 99 })).toBe(false);
  expect(await releaseLease(database.pool, { name, token: 1 })).toBe(true);
  expect(await releaseLease(database.pool, { name, token: 1 })).toBe(false);
  expect(await renewLease(database.pool, { name, token: 1, ttlMs: 1_000 })).toMatchObject({ renewed: false });
});

test('its token grows with every holder, and never falls', async () => {
  const tokens: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const attempt = await acquire('one', n % 2 === 0 ? 0 : 60_000);
    if (!attempt.acquired) throw new Error('held');
    tokens.push(attempt.token);
    if (n % 2 === 1) await releaseLease(database.pool, { name, token: attempt.token });
  }
  expect(tokens).toEqual([1, 2, 3, 4, 5]);
});

test('tells its next holder whether the last one gave it back', async () => {
  expect(await acquire('one', 0)).toMatchObject({ tookOver: false });
  const second = await acquire('two');
  expect(second).toMatchObject({ acquired: true, tookOver: true });
  if (second.acquired) await releaseLease(database.pool, { name, token: second.token });
  expect(await acquire('three')).toMatchObject({ tookOver: false });
});

test('the holder learns at its renewal who asked for it; the next holder does not', async () => {
  expect(await requestHandover(database.pool, { name, wantedBy: 'two' })).toBe(false);
  await acquire('one');
  expect(await requestHandover(database.pool, { name, wantedBy: 'two' })).toBe(true);
  expect(await renewLease(database.pool, { name, token: 1, ttlMs: 1_000 })).toEqual({
    renewed: true,
    wantedBy: 'two',
  });
  await releaseLease(database.pool, { name, token: 1 });
  await acquire('two');
  expect(await renewLease(database.pool, { name, token: 2, ttlMs: 1_000 })).toEqual({
    renewed: true,
    wantedBy: null,
  });
});

import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, onTestFinished, test, vi } from 'vitest';
import { holdLease } from '../src/held-lease.ts';
import type { HeldLease, HeldLeaseEvents } from '../src/held-lease.ts';
import { acquireLease, requestHandover } from '../src/lease.ts';
import { createPool } from '../src/pool.ts';
import type { Queryable } from '../src/queryable.ts';

let database: TestDatabase;
let name: string;
const held: HeldLease[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
beforeEach(() => {
  name = `lease-${crypto.randomUUID()}`;
});
afterEach(async () => {
  for (const lease of held.splice(0)) await lease.release().catch(() => undefined);
});
afterAll(async () => {
  await database.drop();
});

async function hold(
  ttlMs: number,
  events: HeldLeaseEvents = {},
  db: Queryable = database.pool,
): Promise<HeldLease> {
  const requestedAtMs = performance.now();
  const attempt = await acquireLease(db, { name, holder: 'one', ttlMs });
  if (!attempt.acquired) throw new Error('held');
  const lease = holdLease(db, { name, holder: 'one', ttlMs, token: attempt.token, requestedAtMs }, events);
  held.push(lease);
  return lease;
}

async function remainingMs(): Promise<number> {
  const { rows } = await database.pool.query<{ ms: number }>(
    `select extract(epoch from expires_at - clock_timestamp())::float8 * 1000 as ms from pulsebox.lease where name = $1`,
    [name],
  );
  return rows[0]!.ms;
}

async function expiresAtMs(): Promise<number> {
  const { rows } = await database.pool.query<{ ms: number }>(
    'select extract(epoch from expires_at)::float8 * 1000 as ms from pulsebox.lease where name = $1',
    [name],
  );
  return rows[0]!.ms;
}

async function aborted({ signal }: HeldLease): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

test('is renewed by itself, for longer than its time to live', async () => {
  const lease = await hold(1_500);
  const first = await expiresAtMs();
  // More than its whole time, in renewals seen.
  for (let renewals = 0, last = first; renewals < 4; ) {
    const now = await expiresAtMs();
    if (now > last) renewals += 1;
    last = now;
  }
  expect(lease.signal.aborted).toBe(false);
  await lease.release();
  expect(await acquireLease(database.pool, { name, holder: 'two', ttlMs: 1 })).toMatchObject({
    acquired: true,
  });
});

test('aborts before anybody else can have it when the database is away', async () => {
  const proxy = await tcpProxy(database.url);
  const pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
  const errors: unknown[] = [];
  const lease = await hold(600, { onRenewalError: (error) => errors.push(error) }, pool);
  proxy.cut();
  await aborted(lease);
  expect(await remainingMs()).toBeGreaterThan(0);
  expect(lease.signal.reason).toMatchObject({ code: 'POSTGRES_LEASE_EXPIRED' });
  expect(errors.length).toBeGreaterThan(0);
  await lease.release().catch(() => undefined);
  await pool.end();
  await proxy.close();
});

test('has its time from when a renewal was sent, however late the answer comes', async () => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
  });
  onTestFinished(() => void vi.useRealTimers());
  const answer = Promise.withResolvers<void>();
  let away = false;
  // The server's own answers, held up on their way.
  const slow: Queryable = {
    query: (async (text: string, values: unknown[]) => {
      if (away) throw new Error('away');
      const result = await database.pool.query(text, values);
      await answer.promise;
      return result;
    }) as Queryable['query'],
  };
  const attempt = await acquireLease(database.pool, { name, holder: 'one', ttlMs: 60_000 });
  if (!attempt.acquired) throw new Error('held');
  const request = { name, holder: 'one', ttlMs: 60_000, requestedAtMs: performance.now() };
  const lease = holdLease(slow, { ...request, token: attempt.token });
  held.push(lease);
  vi.advanceTimersByTime(10_000);
  const renewing = lease.renewNow();
  vi.advanceTimersByTime(40_000);
  answer.resolve();
  await renewing;
  away = true;
  // Nine tenths of a minute after it was sent; what was kept at the start would have ended before.
  vi.advanceTimersByTime(13_999);
  expect(lease.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.signal.aborted).toBe(true);
});

test('is kept when the database comes back in time', async () => {
  const proxy = await tcpProxy(database.url);
  const pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
  const failed = Promise.withResolvers<void>();
  const lease = await hold(3_000, { onRenewalError: () => failed.resolve() }, pool);
  proxy.cut();
  await lease.renewNow();
  await failed.promise;
  proxy.restore();
  const before = await expiresAtMs();
  await lease.renewNow();
  expect(await expiresAtMs()).toBeGreaterThan(before);
  expect(lease.signal.aborted).toBe(false);
  await lease.release();
  await pool.end();
  await proxy.close();
});

test('aborts when another has it, and does not take it from that one by its release', async () => {
  const lease = await hold(60_000);
  await database.pool.query(
    `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
    [name],
  );
  await acquireLease(database.pool, { name, holder: 'two', ttlMs: 60_000 });
  await lease.renewNow();
  expect(lease.signal.aborted).toBe(true);
  await lease.release();
  expect(await acquireLease(database.pool, { name, holder: 'three', ttlMs: 1 })).toMatchObject({
    heldBy: 'two',
  });
});

test('that ran out here is given back on the server too, where it may still run', async () => {
  const attempt = await acquireLease(database.pool, { name, holder: 'one', ttlMs: 60_000 });
  if (!attempt.acquired) throw new Error('held');
  // As after a process was frozen: asked for long ago by this clock.
  const requestedAtMs = performance.now() - 60_000;
  const lease = holdLease(database.pool, {
    name,
    holder: 'one',
    ttlMs: 60_000,
    token: attempt.token,
    requestedAtMs,
  });
  await aborted(lease);
  await lease.release();
  expect(await acquireLease(database.pool, { name, holder: 'two', ttlMs: 1 })).toMatchObject({
    acquired: true,
  });
});

test('tells once who asks for it', async () => {
  const asked: string[] = [];
  const lease = await hold(60_000, { onWanted: (wantedBy) => asked.push(wantedBy) });
  expect(lease.wantedBy).toBeNull();
  await requestHandover(database.pool, { name, wantedBy: 'two' });
  await lease.renewNow();
  await lease.renewNow();
  expect([lease.wantedBy, asked]).toEqual(['two', ['two']]);
});

test('is released once, however often and whenever that is asked, and renews no more', async () => {
  const lease = await hold(60_000);
  const renewing = lease.renewNow();
  await Promise.all([lease.release(), lease.release(), lease.release()]);
  await renewing;
  await lease.release();
  const next = await acquireLease(database.pool, { name, holder: 'two', ttlMs: 60_000 });
  await lease.renewNow();
  expect(next).toEqual({ acquired: true, token: lease.token + 1, tookOver: false });
  expect(await eventually(async () => (await remainingMs()) > 0)).toBe(true);
});

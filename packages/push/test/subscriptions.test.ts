// The contract of app.push_subscriptions, from SQL and from TypeScript.

import { listSubscriptions, subscribe, unsubscribe } from '@pulsebox/push';
import { browserKeys, createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  await database.pool.query('truncate app.push_subscriptions');
});

const endpoint = 'https://push.example/send/secret';

async function rows(): Promise<Record<string, unknown>[]> {
  const found = await database.pool.query<Record<string, unknown>>(
    'select user_id, endpoint, p256dh, auth, user_agent, failure_count, ctid::text from app.push_subscriptions',
  );
  return found.rows;
}

test('a browser that subscribes again with new keys stays one subscription; the user may be another', async () => {
  const first = browserKeys();
  const id = await subscribe(database.pool, {
    userId: 'ann',
    endpoint,
    ...keysOf(first),
    userAgent: 'Firefox',
  });
  await database.pool.query('update app.push_subscriptions set failure_count = 5');
  const second = browserKeys();
  expect(await subscribe(database.pool, { userId: 'bob', endpoint, ...keysOf(second) })).toBe(id);
  expect(await rows()).toMatchObject([
    { user_id: 'bob', ...keysOf(second), user_agent: 'Firefox', failure_count: 0 },
  ]);
});

test('what has not changed is not written again', async () => {
  const subscription = { userId: 'ann', endpoint, ...keysOf(browserKeys()), userAgent: 'Firefox' };
  const id = await subscribe(database.pool, subscription);
  const before = await rows();
  expect(await subscribe(database.pool, subscription)).toBe(id);
  expect(await rows()).toEqual(before);
});

test('two who store the same subscription at once store one', async () => {
  const subscription = { userId: 'ann', endpoint, ...keysOf(browserKeys()) };
  const ids = await Promise.all(Array.from({ length: 10 }, () => subscribe(database.pool, subscription)));
  expect(new Set(ids).size).toBe(1);
});

test('SQL alone will do, with base64 in either alphabet, padded or not', async () => {
  const { p256dh, auth } = browserKeys();
  const padded = `${p256dh.replaceAll('-', '+').replaceAll('_', '/')}=`;
  await database.pool.query(
    `select app.push_subscribe(user_id => 'ann', endpoint => $1, p256dh => $2, auth => $3)`,
    [endpoint, padded, `${auth}==`],
  );
  expect(await rows()).toMatchObject([{ p256dh, auth, user_agent: null }]);
});

test.each([
  [{ p256dh: 'AAAA' }, 'expected p256dh to be 65 bytes in base64url, got 4 characters that are not'],
  [{ p256dh: Buffer.alloc(65, 4).toString('base64url') }, 'expected p256dh to be a point of P-256'],
  [
    { p256dh: Buffer.concat([Buffer.from([6]), Buffer.alloc(64, 1)]).toString('base64url') },
    'expected p256dh to be a point of P-256',
  ],
  [{ auth: 'short' }, 'expected auth to be 16 bytes'],
  [{ userId: 'ü'.repeat(251) }, 'expected a user of at most 500 bytes, got 502'],
  [{ userId: '' }, 'expected a user'],
  [{ endpoint: 'http://push.example/x' }, 'expected an endpoint that starts with https://'],
  [{ endpoint: 'https://192.168.0.1/x' }, 'expected an endpoint with a public address'],
])('%j is refused, and nothing is stored', async (fault, said) => {
  const subscription = { userId: 'ann', endpoint, ...keysOf(browserKeys()), ...fault };
  await expect(subscribe(database.pool, subscription)).rejects.toThrow(said);
  expect(await rows()).toEqual([]);
});

test('the table itself refuses what no browser has', async () => {
  const { p256dh, auth } = browserKeys();
  const insert = `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth) values ($1, $2, $3, $4)`;
  for (const values of [
    ['', endpoint, p256dh, auth],
    ['ann', 'http://push.example', p256dh, auth],
    ['ann', endpoint, 'short', auth],
    ['ann', endpoint, p256dh, `${auth}==`],
  ])
    await expect(database.pool.query(insert, values)).rejects.toMatchObject({ code: '23514' });
});

test.each([
  [{ user: '' }, 'user_id'],
  [{ user: 'u'.repeat(501) }, 'user_id'],
  [{ endpoint: 'http://push.example/very-secret' }, 'endpoint'],
  [{ endpoint: `https://push.example/very-secret/${'x'.repeat(2_000)}` }, 'endpoint'],
  [{ p256dh: 'short' }, 'p256dh'],
  [{ auth: null }, 'auth'],
])('SQL says what is wrong with %j, and no error of it tells an endpoint or a key', async (fault, said) => {
  const good = { user: 'ann', endpoint: 'https://push.example/very-secret', ...keysOf(browserKeys()) };
  const { user, endpoint: where, p256dh, auth } = { ...good, ...fault };
  const values = [user, where, p256dh, auth];
  const error = await database.pool.query('select app.push_subscribe($1, $2, $3, $4)', values).then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  );
  expect(error).toMatchObject({ code: '23514', message: expect.stringContaining(said) as string });
  const told = `${error?.message} ${JSON.stringify(error)}`;
  for (const secret of ['very-secret', good.p256dh, good.auth]) expect(told).not.toContain(secret);
  expect(await rows()).toEqual([]);
});

test('a browser that names itself at length is stored all the same', async () => {
  for (const userAgent of ['x'.repeat(5_000), '世'.repeat(5_000), '🎉'.repeat(5_000)]) {
    await subscribe(database.pool, { userId: 'ann', endpoint, ...keysOf(browserKeys()), userAgent });
    await database.pool.query('select app.push_subscribe($1, $2, $3, $4, $5)', [
      'ann',
      endpoint,
      ...Object.values(keysOf(browserKeys())),
      userAgent,
    ]);
  }
  expect(await rows()).toHaveLength(1);
});

test('a page that unsubscribes is forgotten', async () => {
  await subscribe(database.pool, { userId: 'ann', endpoint, ...keysOf(browserKeys()) });
  expect(await unsubscribe(database.pool, endpoint)).toBe(true);
  expect(await unsubscribe(database.pool, endpoint)).toBe(false);
  expect(await listSubscriptions(database.pool, { limit: 10 })).toEqual([]);
});

function keysOf({ p256dh, auth }: ReturnType<typeof browserKeys>): { p256dh: string; auth: string } {
  return { p256dh, auth };
}

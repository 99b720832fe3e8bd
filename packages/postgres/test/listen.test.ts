import { createTestDatabase, eventually, freePort, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { listen } from '../src/listen.ts';
import type { Listener } from '../src/listen.ts';

let database: TestDatabase;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});
afterAll(async () => {
  await database.drop();
});

interface Observed {
  readonly listener: Listener;
  readonly states: string[];
  notifications(): number;
}

function observe(url: string, channel = async (): Promise<string> => 'some "channel'): Observed {
  const states: string[] = [];
  let notifications = 0;
  const listener = listen({
    connection: { connectionString: url, connectionTimeoutMillis: 1_000 },
    channel,
    onNotification: () => (notifications += 1),
    onState: (state, error) => states.push(error === undefined ? state : `${state}: ${error.name}`),
  });
  closers.push(async () => listener.close());
  return { listener, states, notifications: () => notifications };
}

async function notify(): Promise<void> {
  await database.pool.query(`select pg_notify('some "channel', '')`);
}

test('hears notifications, and looks once when it begins to listen', async () => {
  const { listener, notifications } = observe(database.url);
  expect(listener.state).toBe('lost');
  await eventually(() => listener.state === 'listening');
  expect(notifications()).toBe(1);
  await notify();
  await eventually(() => notifications() === 2);
});

test('connects again when its connection is ended, and looks once for what it has missed', async () => {
  const proxy = await tcpProxy(database.url);
  closers.push(async () => proxy.close());
  const { listener, notifications, states } = observe(proxy.url);
  await eventually(() => listener.state === 'listening');
  proxy.cut();
  await eventually(() => listener.state === 'lost');
  await notify();
  proxy.restore();
  await eventually(() => listener.state === 'listening');
  expect(notifications()).toBe(2);
  await notify();
  await eventually(() => notifications() === 3);
  expect(states[0]).toBe('listening');
  expect(states.at(-1)).toBe('listening');
  expect(states).toContain('lost: Error');
});

test('keeps trying while nobody answers, and while it cannot learn its channel', async () => {
  const nobody = observe(`postgres://x:y@127.0.0.1:${await freePort()}/z`);
  await eventually(() => nobody.states.length >= 2);
  expect(nobody.listener.state).toBe('lost');
  let failures = 2;
  const learning = observe(database.url, async () => {
    failures -= 1;
    if (failures >= 0) throw new Error('not yet');
    return 'x';
  });
  await eventually(() => learning.listener.state === 'listening');
  expect(learning.states).toEqual(['lost: Error', 'lost: Error', 'listening']);
});

test('closes at any moment, as often as one likes, and leaves no connection behind', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { listener } = observe(database.url);
    for (let turns = 0; turns < round; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([listener.close(), listener.close()]);
    await listener.close();
  }
  await eventually(async () => {
    const { rows } = await database.pool.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and query like 'listen%'`,
    );
    return rows[0]!.n === 0;
  });
  const { listener, states } = observe(`postgres://x:y@127.0.0.1:${await freePort()}/z`);
  await eventually(() => states.length > 0);
  await listener.close();
  const said = states.length;
  await notify();
  expect(states).toHaveLength(said);
});

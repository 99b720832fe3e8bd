import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { createWaker } from '../src/lane/waker.ts';
import type { Waker } from '../src/lane/waker.ts';
import { announceLanes, groupOfNotice } from '../src/lease/lane-notice.ts';
import { emit } from '../src/log/emit.ts';
import { announceSleep } from '../src/lane/sleep.ts';
import { quiet } from './relay-runner.ts';

let database: TestDatabase;
const wakers: Waker[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await Promise.all(wakers.splice(0).map((waker) => waker.close()));
});
afterAll(async () => {
  await database.drop();
});

async function listening(url = database.url): Promise<Waker> {
  const waker = createWaker({ connection: { connectionString: url }, log: quiet });
  wakers.push(waker);
  await eventually(() => waker.state === 'listening');
  return waker;
}

test('a notice names a group; what producers notify does not', () => {
  expect(groupOfNotice('lanes/search')).toBe('search');
  expect(groupOfNotice('')).toBeUndefined();
  expect(groupOfNotice('search')).toBeUndefined();
});

test('a notice reaches the listeners of its group, in every process, and those of no other', async () => {
  const heard: string[] = [];
  for (const name of ['one', 'two']) {
    const waker = await listening();
    waker.onLanes('search', () => heard.push(`${name} search`));
    waker.onLanes('search-more', () => heard.push(`${name} search-more`));
  }
  heard.length = 0;
  await announceLanes(database.pool, 'search');
  await eventually(() => heard.length === 2);
  await announceLanes(database.pool, 'search-more');
  await eventually(() => heard.length === 4);
  expect(heard.toSorted()).toEqual(['one search', 'one search-more', 'two search', 'two search-more']);
});

test('one who has stopped listening hears nothing, while the others do', async () => {
  const waker = await listening();
  const heard: string[] = [];
  const forget = waker.onLanes('g', () => heard.push('gone'));
  waker.onLanes('g', () => heard.push('here'));
  heard.length = 0;
  forget();
  await announceLanes(database.pool, 'g');
  await eventually(() => heard.length > 0);
  expect(heard).toEqual(['here']);
});

test('events are no notices, and both end a rest', async () => {
  const waker = await listening();
  let notices = 0;
  waker.onLanes('g', () => (notices += 1));
  notices = 0;
  const never = new AbortController().signal;
  // What came with the connection.
  await waker.rest(1, never);
  const byEvent = waker.rest(600_000, never);
  await announceSleep(database.pool, 60_000);
  await emit(database.pool, { topic: 't.e', payload: 1 }, { autocommit: true });
  await byEvent;
  expect(notices).toBe(0);
  const byNotice = waker.rest(600_000, never);
  await announceLanes(database.pool, 'g');
  await byNotice;
  expect(notices).toBe(1);
});

test('after a lost connection every listener looks: what was said meanwhile is gone', async () => {
  const proxy = await tcpProxy(database.url);
  try {
    const waker = await listening(proxy.url);
    let looks = 0;
    waker.onLanes('g', () => (looks += 1));
    looks = 0;
    proxy.cut();
    await eventually(() => waker.state === 'lost');
    await announceLanes(database.pool, 'g');
    proxy.restore();
    await eventually(() => waker.state === 'listening');
    expect(looks).toBe(1);
  } finally {
    await Promise.all(wakers.splice(0).map((one) => one.close()));
    await proxy.close();
  }
});

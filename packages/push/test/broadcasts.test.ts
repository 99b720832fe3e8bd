// A message for everybody: its job, where it goes on, and what it tells.

import { eventually } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { loopOf, openPushDesk } from './push-desk.ts';
import type { GivenEvent, PushDesk } from './push-desk.ts';

const toAll: GivenEvent = { topic: 'push.broadcast', payload: { payload: { title: 'To all' } } };

let desk: PushDesk;

beforeEach(async () => {
  desk = await openPushDesk(inject('serverUrl'), { concurrency: 4 });
});
afterEach(async () => {
  await desk.close();
});

async function crowd(size: number): Promise<void> {
  const { endpoint, p256dh, auth } = desk.service.subscribe();
  await desk.database.pool.query(
    `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
     select 'user ' || n, $1 || '/' || n, $2, $3 from generate_series(1, $4::int) n`,
    [endpoint, p256dh, auth, size],
  );
  desk.service.answer(() => ({ status: 201 }));
}

async function job(): Promise<{ state: string; output: Record<string, unknown> | null }[]> {
  const { rows } = await desk.database.pool.query<{ state: string; output: Record<string, unknown> | null }>(
    `select state::text, output from pgboss.job where name = 'push-broadcast'`,
  );
  return rows;
}

test('the handler does not wait for it: a job streams through everybody, and says how it went', async () => {
  await crowd(2_500);
  expect(await desk.deliver([toAll])).toEqual({ failed: [] });
  expect(desk.service.counts.requests).toBe(0);
  expect(await desk.work('push-broadcast')).toBe(1);
  expect(desk.service.counts.requests).toBe(2_500);
  expect(await job()).toEqual([{ state: 'completed', output: { sent: 2_500 } }]);
});

test('a batch that is delivered again makes no second job, not even when the first has ended', async () => {
  await crowd(3);
  const event = { ...toAll, position: 7 };
  await desk.deliver([event]);
  await desk.deliver([event]);
  await desk.work('push-broadcast');
  await desk.deliver([event]);
  await desk.work('push-broadcast');
  expect(desk.service.counts.requests).toBe(3);
  await desk.deliver([{ ...toAll, position: 8 }]);
  await desk.work('push-broadcast');
  expect(desk.service.counts.requests).toBe(6);
});

test('a worker that stops puts it back, and the next one goes on where it was', async () => {
  await crowd(200);
  await desk.deliver([toAll]);
  const stopping = new AbortController();
  desk.service.answer((_endpoint, request) => {
    if (request === 50) stopping.abort();
    return { status: 201 };
  });
  const context = {
    signal: new AbortController().signal,
    stopping: stopping.signal,
    progress: () => undefined,
    log: { info: () => undefined } as never,
  };
  await loopOf(desk.push, 'push-broadcast').tick(context);
  const first = desk.service.counts.requests;
  expect(first).toBeGreaterThanOrEqual(50);
  expect(first).toBeLessThan(60);
  expect(await desk.records()).toHaveLength(first);
  expect(await job()).toEqual([expect.objectContaining({ state: 'retry' })]);
  await desk.work('push-broadcast');
  expect(desk.service.counts.requests).toBe(200);
  expect(await job()).toEqual([expect.objectContaining({ state: 'completed' })]);
});

test('subscriptions that are gone or throttled are seen to by themselves', async () => {
  const browsers = [await desk.browser('ann'), await desk.browser('bob'), await desk.browser('cid')];
  desk.service.unsubscribe(browsers[0]?.endpoint ?? '');
  desk.service.answer((endpoint) => (endpoint === browsers[1]?.endpoint ? { status: 429 } : undefined));
  await desk.deliver([toAll]);
  await desk.work('push-broadcast');
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['gone', 'waiting', 'sent']);
  desk.service.answer(() => undefined);
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);
  expect(desk.service.received.map(({ endpoint }) => endpoint).toSorted()).toEqual(
    [browsers[1]?.endpoint, browsers[2]?.endpoint].toSorted(),
  );
});

test('what is in flight when it has to end at once gets a moment to settle, and is recorded', async () => {
  await crowd(10);
  await desk.deliver([toAll]);
  desk.service.answer(() => ({ status: 201, afterMs: 100 }));
  const drained = new AbortController();
  const stopping = new AbortController();
  const context = {
    signal: drained.signal,
    stopping: stopping.signal,
    progress: () => undefined,
    log: { info: () => undefined, warn: () => undefined } as never,
  };
  const tick = loopOf(desk.push, 'push-broadcast').tick(context);
  await eventually(() => desk.service.counts.requests === 4);
  stopping.abort();
  drained.abort();
  await tick;
  expect(desk.service.counts.requests).toBe(4);
  expect(await desk.records()).toHaveLength(4);
});

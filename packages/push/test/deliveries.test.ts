// From events to browsers: fan-out, outcomes, and what is recorded of them.

import { startPushService } from '@pulsebox/test-support';
import type { PushService } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { notification, openPushDesk } from './push-desk.ts';
import type { PushDesk } from './push-desk.ts';

let desk: PushDesk;
let other: PushService;

beforeEach(async () => {
  other = await startPushService();
  desk = await openPushDesk(inject('serverUrl'), {
    others: [other],
    breaker: { threshold: 3, firstMs: 60_000 },
  });
});
afterEach(async () => {
  await desk.close();
  await other.close();
});

async function jobStates(): Promise<{ name: string; state: string; inSeconds: number }[]> {
  const { rows } = await desk.database.pool.query<{ name: string; state: string; inSeconds: number }>(
    `select name, state::text, round(extract(epoch from start_after - created_on))::float8 as "inSeconds"
     from pgboss.job where name like 'push-%' order by created_on`,
  );
  return rows;
}

test('a message reaches every browser of its user, and nobody else', async () => {
  const ann = [await desk.browser('ann'), await desk.browser('ann'), await desk.browser('ann')];
  await desk.browser('bob');
  expect(await desk.deliver([notification('ann'), notification('nobody')])).toEqual({ failed: [] });
  expect(desk.service.received.map(({ endpoint }) => endpoint).toSorted()).toEqual(
    ann.map(({ endpoint }) => endpoint).toSorted(),
  );
  expect(desk.service.violations).toEqual([]);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
  expect(await desk.metric('push_deliveries_total{service="other",outcome="sent"}')).toBe(3);
  expect(await desk.metric('push_service_latency_seconds_count{service="other"}')).toBe(3);
});

test('all users of a batch are looked up in one query', async () => {
  for (const user of ['ann', 'bob', 'cid']) await desk.browser(user);
  const queries: string[] = [];
  const { pool } = desk.database;
  const query = pool.query.bind(pool) as (text: unknown, values?: unknown[]) => unknown;
  Object.assign(pool, {
    query(text: unknown, values?: unknown[]): unknown {
      queries.push(String(text));
      return query(text, values);
    },
  });
  await desk.deliver([notification('ann'), notification('bob'), notification('cid')]);
  expect(queries.filter((text) => text.includes('cross join lateral'))).toHaveLength(1);
  expect(desk.service.received).toHaveLength(3);
});

test('a missing user is a fault of that event and never a broadcast; the others are delivered', async () => {
  await desk.browser('ann');
  const outcome = await desk.deliver([
    notification('ann'),
    { payload: { payload: { title: 'x' } } },
    { payload: { user_id: null, payload: { title: 'x' } } },
    { payload: { user_id: '', payload: { title: 'x' } } },
    { payload: { user_id: ['ann'], payload: { title: 'x' } } },
    notification('ann', { payload: { title: 'x'.repeat(4_000) } }),
    notification('ann', { ttl_seconds: 5 }),
    { topic: 'push.broadcast', payload: { user_id: 'ann', payload: { title: 'x' } } },
  ]);
  expect(outcome.failed.map(({ position }) => position)).toEqual([2, 3, 4, 5, 6, 7, 8]);
  expect(new Set(outcome.failed.map(({ retryable }) => retryable))).toEqual(new Set([false]));
  expect(outcome.failed[0]?.reason).toBe(
    'expected a user_id that is a text or a whole number, got nothing; nothing was sent; to notify everybody emit push.broadcast',
  );
  expect(outcome.failed[5]?.reason).toContain(
    'expected an event of user_id, payload, ttl, urgency and topic',
  );
  expect(desk.service.counts.requests).toBe(1);
});

test('events of other topics are none of ours', async () => {
  expect(await desk.deliver([{ topic: 'item.upserted', payload: 7 }])).toEqual({ failed: [] });
});

test('a batch that is delivered again sends nothing again', async () => {
  await desk.browser('ann');
  const event = { ...notification('ann'), position: 10 };
  await desk.deliver([event]);
  await desk.deliver([event]);
  expect(desk.service.counts.requests).toBe(1);
  await desk.deliver([{ ...event, position: 11 }]);
  expect(desk.service.counts.requests).toBe(2);
});

test('messages for one browser arrive in the order of the events', async () => {
  await desk.browser('ann');
  desk.service.answer((_endpoint, request) => (request === 1 ? { status: 503, afterMs: 50 } : undefined));
  const titles = Array.from({ length: 20 }, (_, n) => `n${n}`);
  await desk.deliver(titles.map((title) => notification('ann', { payload: { title } })));
  const received = desk.service.received.map(
    ({ plaintext }) => (JSON.parse(plaintext) as { title: string }).title,
  );
  expect(received).toEqual(titles.slice(1));
});

test('a subscription that is gone is removed', async () => {
  const gone = await desk.browser('ann');
  await desk.browser('ann');
  desk.service.unsubscribe(gone.endpoint);
  await desk.deliver([notification('ann'), notification('ann')]);
  const { rows } = await desk.database.pool.query('select subscription_id from app.push_subscriptions');
  expect(rows).toHaveLength(1);
  expect(await desk.metric('push_subscriptions_removed_total')).toBe(1);
  // Three: two for the one that is left, and one that told of the other.
  expect(desk.service.counts.requests).toBe(3);
});

test('one that subscribed again with new keys while its old ones were refused stays', async () => {
  const browser = await desk.browser('ann');
  const { pool } = desk.database;
  let renewed: Promise<unknown> | undefined;
  desk.service.answer((endpoint) => {
    const { p256dh, auth } = desk.service.renew(endpoint);
    renewed = pool.query('select app.push_subscribe($1, $2, $3, $4)', ['ann', endpoint, p256dh, auth]);
    return { status: 410, afterMs: 200 };
  });
  await desk.deliver([notification('ann')]);
  await renewed;
  desk.service.answer(() => undefined);
  await desk.deliver([notification('ann')]);
  expect(desk.service.received.map(({ endpoint }) => endpoint)).toEqual([browser.endpoint]);
});

test.each([400, 413])(
  'a message that is refused with %d makes its event a dead letter, and the others arrive',
  async (status) => {
    const [picky, easy] = [await desk.browser('ann'), await desk.browser('ann')];
    desk.service.answer((endpoint) => (endpoint === picky.endpoint ? { status } : undefined));
    const event = { ...notification('ann'), position: 5 };
    const { failed } = await desk.deliver([event]);
    expect(failed).toEqual([
      {
        position: 5,
        retryable: false,
        reason: `1 of its deliveries were refused: subscription ${picky.subscriptionId}: ${desk.service.origin} answered ${status}`,
      },
    ]);
    expect(desk.service.received.map(({ endpoint }) => endpoint)).toEqual([easy.endpoint]);

    // A person replays it: to the one that refused it, and to nobody else.
    desk.service.forget();
    desk.service.answer(() => undefined);
    expect(await desk.deliver([event])).toEqual({ failed: [] });
    expect(desk.service.received.map(({ endpoint }) => endpoint)).toEqual([picky.endpoint]);
    expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent', 'sent']);
  },
);

test.each([401, 403])('%d raises an alarm, removes nothing, and is tried again later', async (status) => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status }));
  expect(await desk.deliver([notification('ann')])).toEqual({ failed: [] });
  expect(desk.push.checks()['vapid']).toMatchObject({
    status: 'degraded',
    detail: expect.stringContaining(`${desk.service.origin} refuses our VAPID token since`) as string,
  });
  expect(await desk.metric('push_services_denying{service="other"}')).toBe(1);
  const saidOfIt = (): unknown[] => desk.logged.filter(({ origin }) => origin === desk.service.origin);
  expect(saidOfIt()).toEqual([
    expect.objectContaining({ level: 'warn', msg: expect.stringContaining('check the VAPID_') as string }),
  ]);
  expect(await jobStates()).toEqual([
    expect.objectContaining({ name: 'push-retry', inSeconds: expect.any(Number) as number }),
  ]);
  expect((await jobStates())[0]?.inSeconds).toBeGreaterThanOrEqual(300);

  desk.service.answer(() => undefined);
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);
  expect(desk.service.received).toHaveLength(1);
  expect(desk.push.checks()['vapid']).toEqual({ status: 'ok' });
  expect(await desk.metric('push_services_denying{service="other"}')).toBe(0);
  expect(saidOfIt().at(-1)).toMatchObject({
    level: 'info',
    msg: 'a push service takes our VAPID token again',
  });
});

test.each([
  [{ status: 429, headers: { 'retry-after': '120' } }, 120],
  [{ status: 406, headers: { 'retry-after': '3600' } }, 3_600],
  [{ status: 503 }, 1],
  ['reset' as const, 1],
])(
  '%j: that one delivery is tried again later, the others are not held up',
  async (behaviour, leastSeconds) => {
    const [busy, free] = [await desk.browser('ann'), await desk.browser('ann', { at: other })];
    desk.service.answer(() => behaviour);
    expect(await desk.deliver([notification('ann')])).toEqual({ failed: [] });
    expect(other.received.map(({ endpoint }) => endpoint)).toEqual([free.endpoint]);
    const [job] = await jobStates();
    expect(job?.inSeconds).toBeGreaterThanOrEqual(leastSeconds);
    expect(job?.inSeconds).toBeLessThanOrEqual(leastSeconds + 1);
    // Not due yet.
    expect(await desk.work('push-retry')).toBe(0);

    desk.service.answer(() => undefined);
    await desk.makeDue();
    expect(await desk.work('push-retry')).toBe(1);
    expect(desk.service.received).toEqual([expect.objectContaining({ endpoint: busy.endpoint })]);
    // A day, less what the test has taken.
    expect(desk.service.received[0]?.ttl).toBeGreaterThan(86_000);
    expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent', 'sent']);
    expect(await desk.work('push-retry')).toBe(0);
  },
);

test('no longer than its time to live', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 429, headers: { 'retry-after': '300' } }));
  await desk.deliver([notification('ann', { ttl: 299 }), notification('ann', { ttl: 400 })]);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['expired', 'waiting']);
  // What waited in the log for longer than it lives is not sent at all; what is left of a life is passed on.
  desk.service.forget();
  desk.service.answer(() => undefined);
  const old = new Date(Date.now() - 100_000);
  await desk.deliver([
    { ...notification('ann', { ttl: 99 }), createdAt: old },
    { ...notification('ann', { ttl: 160 }), createdAt: old },
    notification('ann', { ttl: 0 }),
  ]);
  expect(desk.service.received.map(({ ttl }) => ttl)).toEqual([60, 0]);
  expect(await desk.metric('push_deliveries_total{service="other",outcome="expired"}')).toBe(1);
  // That one, and the first, whose service asked for more time than it had.
  expect(await desk.metric('push_deliveries_expired_total{service="other"}')).toBe(2);
});

test('a retry waits longer each time, and a job follows a job', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  await desk.makeDue();
  await desk.work('push-retry');
  const jobs = await jobStates();
  expect(jobs.map(({ state }) => state)).toEqual(['completed', 'created']);
  expect(jobs[1]?.inSeconds).toBe(2);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['waiting']);
});

test('a retry goes to the keys that the subscription has by then, and to none that is gone', async () => {
  const browser = await desk.browser('ann');
  const leaving = await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  desk.service.answer(() => undefined);
  const { p256dh, auth } = desk.service.renew(browser.endpoint);
  await desk.database.pool.query('select app.push_subscribe($1, $2, $3, $4)', [
    'ann',
    browser.endpoint,
    p256dh,
    auth,
  ]);
  await desk.database.pool.query('delete from app.push_subscriptions where subscription_id = $1', [
    leaving.subscriptionId,
  ]);
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(2);
  expect(desk.service.received.map(({ endpoint }) => endpoint)).toEqual([browser.endpoint]);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent', 'gone']);
});

test('a retry does not go to whoever has logged in at that browser meanwhile; that of a broadcast does', async () => {
  const { endpoint, p256dh, auth } = await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([
    notification('ann', { payload: { title: 'For Ann alone' } }),
    { topic: 'push.broadcast', payload: { payload: { title: 'For all' } } },
  ]);
  await desk.work('push-broadcast');
  await desk.database.pool.query('select app.push_subscribe($1, $2, $3, $4)', [
    'bob',
    endpoint,
    p256dh,
    auth,
  ]);
  desk.service.answer(() => undefined);
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(2);
  expect(desk.service.received.map(({ plaintext }) => plaintext)).toEqual(['{"title":"For all"}']);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['gone', 'sent']);
  // It is Bob's now, and stays.
  const { rows } = await desk.database.pool.query('select user_id from app.push_subscriptions');
  expect(rows).toEqual([{ user_id: 'bob' }]);
});

test('a retry does not put an old message of a topic in the place of a newer one', async () => {
  await desk.browser('ann');
  desk.service.answer((_endpoint, request) => (request === 1 ? { status: 500 } : undefined));
  await desk.deliver([notification('ann', { topic: 'score', payload: { title: '1:0' } })]);
  await desk.deliver([notification('ann', { topic: 'score', payload: { title: '2:0' } })]);
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);
  expect(desk.service.received.map(({ plaintext }) => plaintext)).toEqual(['{"title":"2:0"}']);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['superseded', 'sent']);
});

test('a service that is down is left alone by the rest of the batch; other services are not', async () => {
  const users = Array.from({ length: 30 }, (_, n) => `user ${n}`);
  for (const user of users) await desk.browser(user);
  await desk.browser('user 29', { at: other });
  desk.service.answer(() => ({ status: 500 }));
  const small = desk.another({ concurrency: 1 });
  const events = users.map((user_id, n) => ({
    position: n + 1,
    topic: 'push.requested',
    payload: { user_id, payload: { title: 'x' } },
    key: null,
    headers: {},
    createdAt: new Date(),
  }));
  const context = {
    signal: new AbortController().signal,
    fencingToken: 1,
    progress: () => undefined,
    log: {} as never,
  };
  await small.handler({ group: 'push', lane: 0, events }, context);
  expect(desk.service.counts.requests).toBe(3);
  expect(other.received).toHaveLength(1);
  expect(small.checks()['push-services']).toMatchObject({ status: 'degraded' });
  expect(await jobStates()).toHaveLength(30);
});

test('an endpoint that leads inside the network is recorded and said, without a request', async () => {
  const browser = await desk.browser('ann');
  await desk.database.pool.query(
    `update app.push_subscriptions set endpoint = 'https://169.254.169.254/secret'`,
  );
  expect(await desk.deliver([notification('ann')])).toEqual({ failed: [] });
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['forbidden']);
  expect(desk.logged).toContainEqual(expect.objectContaining({ subscription: browser.subscriptionId }));
  expect(JSON.stringify(desk.logged)).not.toContain('/secret');
});

test('subscriptions show their last success and how often they have failed since', async () => {
  await desk.browser('ann');
  const state = async (): Promise<unknown> =>
    (
      await desk.database.pool.query(
        'select failure_count, last_success_at is not null as worked from app.push_subscriptions',
      )
    ).rows[0];
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann'), notification('ann')]);
  expect(await state()).toEqual({ failure_count: 2, worked: false });
  desk.service.answer(() => undefined);
  await desk.deliver([notification('ann')]);
  expect(await state()).toEqual({ failure_count: 0, worked: true });
  // No row version for each message.
  const version = async (): Promise<unknown> =>
    (await desk.database.pool.query('select ctid::text from app.push_subscriptions')).rows[0];
  const before = await version();
  await desk.deliver([notification('ann')]);
  expect(await version()).toEqual(before);
});

test('nothing that is logged, measured or kept as a job tells an endpoint or a key', async () => {
  const browsers = [await desk.browser('ann'), await desk.browser('ann')];
  desk.service.unsubscribe(browsers[0]?.endpoint ?? '');
  desk.service.answer((_endpoint, request) =>
    request > 2 ? { status: 413 } : request === 1 ? { status: 500 } : undefined,
  );
  await desk.deliver([notification('ann'), notification('ann')]);
  await desk.makeDue();
  await desk.work('push-retry');
  const { rows } = await desk.database.pool.query('select data, output from pgboss.job');
  const told = JSON.stringify([desk.logged, await desk.registry.metrics(), rows, desk.push.checks()]);
  for (const { endpoint, p256dh, auth } of browsers) {
    for (const secret of [new URL(endpoint).pathname, p256dh, auth]) expect(told).not.toContain(secret);
  }
});

test('when there are more subscriptions than a page of the fan-out holds, all of them are notified', async () => {
  const { endpoint, p256dh, auth } = desk.service.subscribe();
  await desk.database.pool.query(
    `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
     select 'crowd', $1 || n, $2, $3 from generate_series(1, 5050) n`,
    [endpoint, p256dh, auth],
  );
  desk.service.answer(() => ({ status: 201 }));
  await desk.deliver([notification('crowd')]);
  expect(desk.service.counts.requests).toBe(5_050);
  const { rows } = await desk.database.pool.query(
    `select count(*)::int as n from push.delivery where outcome = 'sent'`,
  );
  expect(rows).toEqual([{ n: 5_050 }]);
});

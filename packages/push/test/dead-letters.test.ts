// What push services refuse for good, wherever it happens: one place where an operator finds it, and one way to try it
// again.

import { replayDead } from '@pulsebox/outbox';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { notification, openPushDesk } from './push-desk.ts';
import type { GivenEvent, PushDesk } from './push-desk.ts';

const toAll: GivenEvent = {
  topic: 'push.broadcast',
  payload: { payload: { title: 'To all' } },
  position: 40,
};

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
}

/** As the group's reader does with what an operator has replayed: the event as it stands there, and then no more. */
async function replayed(): Promise<void> {
  const [letter] = await desk.dead();
  if (letter === undefined) throw new Error('no dead letter');
  await desk.database.pool.query('delete from outbox.parked');
  const { position, topic, headers, payloadJson, createdAt } = letter;
  const { failed } = await desk.deliver([
    {
      position,
      topic,
      headers,
      payload: JSON.parse(payloadJson) as GivenEvent['payload'],
      createdAt: new Date(createdAt),
    },
  ]);
  expect(failed).toEqual([]);
}

test('refused in a retry: the event is a dead letter, and its replay goes to whoever refused it', async () => {
  const [late, early] = [await desk.browser('ann'), await desk.browser('ann')];
  desk.service.answer((endpoint) => (endpoint === late.endpoint ? { status: 500 } : undefined));
  const asked = notification('ann', { topic: 'score', ttl: 7_200, urgency: 'high' });
  await desk.deliver([{ ...asked, position: 9 }]);
  expect(desk.service.received.map(({ endpoint }) => endpoint)).toEqual([early.endpoint]);
  desk.service.answer(() => ({ status: 413 }));
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);

  const reason = `subscription ${late.subscriptionId}: ${desk.service.origin} answered 413`;
  expect(await desk.dead()).toEqual([
    expect.objectContaining({
      id: 'push/9',
      state: 'dead',
      topic: 'push.requested',
      errors: [expect.objectContaining({ reason, retryable: false })],
    }),
  ]);
  expect(desk.logged).toContainEqual(
    expect.objectContaining({ level: 'error', group: 'push', position: 9, reason }),
  );
  expect(await desk.records()).toMatchObject([{ outcome: 'rejected' }, { outcome: 'sent' }]);

  desk.service.forget();
  desk.service.answer(() => undefined);
  await replayed();
  expect(desk.service.received).toEqual([
    expect.objectContaining({
      endpoint: late.endpoint,
      plaintext: '{"title":"Hello"}',
      topic: 'score',
      urgency: 'high',
    }),
  ]);
  expect(desk.service.received[0]?.ttl).toBeGreaterThan(7_000);
  expect(await desk.records()).toMatchObject([{ outcome: 'sent' }, { outcome: 'sent' }]);
});

test('several deliveries of one event that are refused one after the other are one dead letter', async () => {
  for (let n = 0; n < 3; n += 1) await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  desk.service.answer(() => ({ status: 400 }));
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(3);
  expect((await desk.dead()).map(({ errors }) => errors.length)).toEqual([3]);
});

test('refused while the event is being replayed: it waits, and is reported when that is over', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  // Another delivery of the event was refused before, and an operator has replayed it: a reader has it in hand.
  await desk.database.pool.query(
    `insert into outbox.parked (group_name, position, topic, payload, headers, created_at, state, attempts, attempting_since)
     values ('push', 1, 'push.requested', '{}', '{}', now(), 'parked', 1, now())`,
  );
  desk.service.answer(() => ({ status: 400 }));
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);
  expect(await desk.dead()).toEqual([]);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['waiting']);

  await desk.database.pool.query('delete from outbox.parked');
  await desk.makeDue();
  expect(await desk.work('push-retry')).toBe(1);
  expect(await desk.dead()).toHaveLength(1);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['rejected']);
});

test('a retry that was given to another worker meanwhile makes no dead letter', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  await desk.makeDue();
  desk.service.answer(() => {
    void desk.database.pool.query(
      `update pgboss.job set retry_count = retry_count + 1 where name = 'push-retry'`,
    );
    return { status: 400, afterMs: 300 };
  });
  await desk.work('push-retry');
  expect(await desk.dead()).toEqual([]);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['waiting']);
});

test('a broadcast that services refuse is one dead letter, after everybody was tried once', async () => {
  await crowd(5);
  desk.service.answer((_endpoint, request) => ({ status: request % 2 === 0 ? 201 : 413 }));
  await desk.deliver([toAll]);
  await desk.work('push-broadcast');
  expect(desk.service.counts.requests).toBe(5);
  const [letter, ...others] = await desk.dead();
  expect(others).toEqual([]);
  expect(letter).toMatchObject({ id: 'push/40', topic: 'push.broadcast' });
  expect(letter?.errors.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(
      new RegExp(
        String.raw`^3 of its deliveries were refused: subscription \d+: ${desk.service.origin} answered 413$`,
      ),
    ),
  ]);
});

test('its replay goes to those that refused it and to nobody else, each replay anew, and ends', async () => {
  await crowd(20);
  desk.service.answer((_endpoint, request) => ({ status: request <= 4 ? 413 : 201 }));
  await desk.deliver([toAll]);
  await desk.work('push-broadcast');
  const tried: string[] = [];
  desk.service.answer((endpoint) => {
    tried.push(endpoint);
    return { status: tried.length <= 2 ? 413 : 201 };
  });
  await replayed();
  expect(await desk.work('push-broadcast')).toBe(1);
  expect(tried).toHaveLength(4);
  const [again] = await desk.dead();
  expect(again?.errors[0]?.reason).toMatch(/^2 of its deliveries/);

  desk.service.answer(() => ({ status: 201 }));
  await replayed();
  expect(await desk.work('push-broadcast')).toBe(1);
  expect(await desk.dead()).toEqual([]);
  expect(new Set((await desk.records()).map(({ outcome }) => outcome))).toEqual(new Set(['sent']));
});

test('a replay that is handed over twice, its worker having died, is one job', async () => {
  await crowd(2);
  desk.service.answer(() => ({ status: 413 }));
  await desk.deliver([toAll]);
  await desk.work('push-broadcast');
  const [letter] = await desk.dead();
  const headers = letter?.headers;
  await desk.deliver([{ ...toAll, headers }]);
  await desk.deliver([{ ...toAll, headers }]);
  expect(await desk.work('push-broadcast')).toBe(1);
});

test('a refusal is not forgotten when another worker ends the broadcast', async () => {
  await crowd(3);
  const { push, service } = desk;
  service.answer((_endpoint, request) => {
    if (request === 1) stopping.abort();
    return { status: request === 1 ? 413 : 201 };
  });
  const stopping = new AbortController();
  const loop = push.loops.find(({ name }) => name === 'push-broadcast');
  await desk.deliver([toAll]);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined } as never;
  const { signal } = new AbortController();
  await loop?.tick({ signal, stopping: stopping.signal, progress: () => undefined, log });
  await desk.work('push-broadcast');
  expect((await desk.dead()).map(({ id }) => id)).toEqual(['push/40']);
});

test('a broadcast that ends while it is being replayed waits with its report', async () => {
  await crowd(1);
  desk.service.answer(() => ({ status: 413 }));
  await desk.deliver([toAll]);
  await desk.database.pool.query(
    `insert into outbox.parked (group_name, position, topic, payload, headers, created_at, state, attempts, attempting_since)
     values ('push', 40, 'push.broadcast', '{}', '{}', now(), 'parked', 1, now())`,
  );
  await desk.work('push-broadcast');
  expect(await desk.dead()).toEqual([]);
  await desk.database.pool.query('delete from outbox.parked');
  await desk.makeDue();
  await desk.work('push-broadcast');
  expect(await desk.dead()).toHaveLength(1);
});

test('a dead letter can be replayed as any other is', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  desk.service.answer(() => ({ status: 400 }));
  await desk.makeDue();
  await desk.work('push-retry');
  expect(await replayDead(desk.database.pool, { filter: { topic: 'push.requested' } })).toMatchObject({
    replayed: 1,
  });
});

test('a broadcast whose time is over before its job ends is not written down for everybody that is left', async () => {
  await crowd(10);
  desk.service.answer(() => ({ status: 201 }));
  const old = new Date(Date.now() - 100_000);
  await desk.deliver([{ ...toAll, payload: { payload: { title: 'Late' }, ttl: 90 }, createdAt: old }]);
  expect(await desk.work('push-broadcast')).toBe(1);
  expect(desk.service.counts.requests).toBe(0);
  expect(await desk.records()).toEqual([]);
});

// `push-worker` from outside, as a container runs it, before a push service over TLS.

import { writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listDead, replayDead } from '@pulsebox/outbox';
import { generateVapidKeys, subscribe } from '@pulsebox/push';
import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startPushService,
} from '@pulsebox/test-support';
import type { BrowserSubscription, Program, PushService, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';

const ENTRY = 'apps/push-worker/src/index.ts';
const keys = generateVapidKeys();

let db: TestDatabase;
let service: PushService;
let folder: string;
let caFile: string;

beforeAll(async () => {
  service = await startPushService();
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-push-'));
  caFile = join(folder, 'ca.pem');
  await writeFile(caFile, service.ca);
});
afterAll(async () => {
  await service.close();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  service.forget();
  service.answer(() => undefined);
  db = await createTestDatabase(inject('serverUrl'));
  return async () => {
    await db.drop();
  };
});

function environment(more: Record<string, string> = {}): Record<string, string> {
  return {
    DATABASE_URL: db.url,
    OUTBOX_LEASE_SECONDS: '2',
    VAPID_PUBLIC_KEY: keys.publicKey,
    VAPID_PRIVATE_KEY: keys.privateKey,
    VAPID_SUBJECT: 'mailto:push@pulsebox.example',
    PUSH_PRIVATE_ORIGINS: service.origin,
    NODE_EXTRA_CA_CERTS: caFile,
    ...more,
  };
}

async function startWorker(more: Record<string, string> = {}): Promise<{ worker: Program; origin: string }> {
  const port = await freePort();
  const worker = runProgram(ENTRY, {
    args: ['--loop'],
    env: environment({ PUSH_WORKER_HEALTH_PORT: String(port), ...more }),
  });
  const origin = `http://127.0.0.1:${port}`;
  await eventually(
    () =>
      fetch(`${origin}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
    { message: `not ready: ${worker.output()}` },
  );
  return { worker, origin };
}

async function browserOf(userId: string): Promise<BrowserSubscription> {
  const browser = service.subscribe();
  await subscribe(db.pool, { userId, ...browser }, { privateOrigins: [service.origin] });
  return browser;
}

async function emit(topic: string, payload: object): Promise<void> {
  await db.pool.query('select outbox.emit($1, $2)', [topic, payload]);
}

test('an event becomes a notification that the browser can read; SIGTERM ends the worker with 0', async () => {
  const browser = await browserOf('ann');
  const { worker, origin } = await startWorker();
  await emit('push.requested', {
    user_id: 'ann',
    payload: { title: 'Hello', url: '/inbox' },
    ttl: 60,
    urgency: 'high',
  });
  await eventually(() => service.received.length === 1);
  expect(service.violations).toEqual([]);
  expect(service.received[0]).toMatchObject({
    endpoint: browser.endpoint,
    plaintext: expect.stringContaining('"title":"Hello"') as string,
    urgency: 'high',
    httpVersion: '2.0',
  });
  await eventually(async () =>
    (await (await fetch(`${origin}/metrics`)).text()).includes(
      'push_deliveries_total{service="other",outcome="sent"} 1',
    ),
  );
  worker.kill('SIGTERM');
  expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
  expect(worker.output()).not.toContain(keys.privateKey);
  expect(worker.output()).not.toContain(new URL(browser.endpoint).pathname);
});

test('a worker that is killed in the middle of a batch: what was recorded is not sent again, and nothing is lost', async () => {
  const users = Array.from({ length: 60 }, (_, n) => `user ${n}`);
  for (const user of users) await browserOf(user);
  const { worker } = await startWorker({ PUSH_CONCURRENCY: '4' });
  const recorded = async (): Promise<number> =>
    (await db.pool.query(`select from push.delivery where outcome = 'sent'`)).rowCount ?? 0;
  // From the thirtieth on nothing is answered, so the batch cannot end.
  service.answer((_endpoint, request) => (request > 30 ? 'never' : undefined));
  await db.pool.query(
    `insert into outbox.event (topic, payload)
     select 'push.requested', jsonb_build_object('user_id', u, 'payload', jsonb_build_object('title', u))
     from unnest($1::text[]) u`,
    [users],
  );
  await eventually(async () => (await recorded()) === 30);
  worker.kill('SIGKILL');
  await worker.exited;
  const first = service.counts.requests;
  // Thirty were recorded, and no more than four could be in flight.
  expect(first).toBeGreaterThan(30);
  expect(first).toBeLessThanOrEqual(34);

  service.answer(() => undefined);
  const second = await startWorker({ PUSH_CONCURRENCY: '4' });
  await eventually(async () => (await recorded()) === 60);
  expect(service.received.map(({ plaintext }) => plaintext).toSorted()).toEqual(
    users.map((title) => JSON.stringify({ title })).toSorted(),
  );
  expect(service.counts.requests).toBe(first + 30);
  second.worker.kill('SIGTERM');
  expect(await second.worker.exited).toMatchObject({ code: 0 });
});

test('a broadcast reaches everybody, and goes on where a killed worker had left it', async () => {
  const { endpoint, p256dh, auth } = service.subscribe();
  await db.pool.query(
    `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
     select 'user ' || n, $1 || n, $2, $3 from generate_series(1, 300) n`,
    [endpoint, p256dh, auth],
  );
  service.answer((_endpoint, request) => (request > 100 ? 'never' : { status: 201 }));
  const { worker } = await startWorker({ PUSH_CONCURRENCY: '8', PUSH_WORKER_POLL_SECONDS: '0.2' });
  await emit('push.broadcast', { payload: { title: 'To all' } });
  const recorded = async (): Promise<number> =>
    (await db.pool.query(`select from push.delivery`)).rowCount ?? 0;
  await eventually(async () => (await recorded()) === 100);
  worker.kill('SIGKILL');
  await worker.exited;
  const first = service.counts.requests;
  expect(first).toBeLessThanOrEqual(108);
  // The job is given to another when nothing was heard of its worker for its heartbeat; that need not be waited for.
  await db.pool.query(
    `update pgboss.job set heartbeat_on = now() - interval '1 hour' where name = 'push-broadcast'`,
  );
  service.answer(() => ({ status: 201 }));
  const second = await startWorker({ PUSH_WORKER_POLL_SECONDS: '0.2' });
  await eventually(
    async () => {
      const { rows } = await db.pool.query<{ state: string }>(
        `select state::text from pgboss.job where name = 'push-broadcast'`,
      );
      return rows[0]?.state === 'completed';
    },
    { message: second.worker.output() },
  );
  expect(await recorded()).toBe(300);
  expect(service.counts.requests).toBe(first + 200);
  second.worker.kill('SIGTERM');
  expect(await second.worker.exited).toMatchObject({ code: 0 });
});

test('without --loop it sends one batch, of PUSH_BATCH_SIZE events or as many as --batch-size says', async () => {
  await browserOf('ann');
  await db.pool.query(
    `insert into outbox.event (topic, payload)
     select 'push.requested', jsonb_build_object('user_id', 'ann', 'payload', jsonb_build_object('title', n::text))
     from generate_series(1, 6) n`,
  );
  const titlesSentBy = async (args: readonly string[], more: Record<string, string>): Promise<string[]> => {
    const port = await freePort();
    service.forget();
    const worker = runProgram(ENTRY, {
      args,
      env: environment({ PUSH_WORKER_HEALTH_PORT: String(port), ...more }),
    });
    expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
    return service.received.map(({ plaintext }) => (JSON.parse(plaintext) as { title: string }).title);
  };
  // That of the other groups says nothing about this one.
  const few = { PUSH_BATCH_SIZE: '3', OUTBOX_WORKER_BATCH_SIZE: '1' };
  expect(await titlesSentBy([], few)).toEqual(['1', '2', '3']);
  expect(await titlesSentBy(['--batch-size', '2'], few)).toEqual(['4', '5']);
  expect(await titlesSentBy([], {})).toEqual(['6']);
});

test('without keys it is off, says so once, and is healthy', async () => {
  const { worker, origin } = await startWorker({ VAPID_PUBLIC_KEY: '', VAPID_PRIVATE_KEY: '' });
  expect((await fetch(`${origin}/health`)).status).toBe(200);
  expect(worker.output().match(/push is off/g)).toHaveLength(1);
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
  const { rows } = await db.pool.query(`select name from outbox.consumer_group where name = 'push'`);
  expect(rows).toEqual([]);
});

test('a service that refuses the keys shows in /health as a warning, which is no reason to restart', async () => {
  await browserOf('ann');
  service.answer(() => ({ status: 403, body: '{"reason":"BadJwtToken"}' }));
  const { worker, origin } = await startWorker();
  await emit('push.requested', { user_id: 'ann', payload: { title: 'Hello' } });
  await eventually(async () =>
    (await (await fetch(`${origin}/health`)).text()).includes('refuses our VAPID token'),
  );
  expect((await fetch(`${origin}/health`)).status).toBe(200);
  const ready = await fetch(`${origin}/health/ready`);
  expect(ready.status).toBe(200);
  expect(await ready.text()).toContain('refuses our VAPID token');
  expect(await (await fetch(`${origin}/metrics`)).text()).toContain(
    'push_services_denying{service="other"} 1',
  );
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
});

test('an event without a user becomes a dead letter, and nobody is notified', async () => {
  await browserOf('ann');
  await emit('push.requested', { user_id: null, payload: { title: 'Oops' } });
  await emit('push.requested', { user_id: 'ann', payload: { title: 'Hello' } });
  const worker = runProgram(ENTRY, { env: environment() });
  expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
  expect(service.received.map(({ plaintext }) => plaintext)).toEqual(['{"title":"Hello"}']);
  const { rows } = await db.pool.query<{ state: string; topic: string }>(
    'select state, topic from outbox.parked',
  );
  expect(rows).toEqual([{ state: 'dead', topic: 'push.requested' }]);
});

test('fed with rubbish it stays up: each bad event is a dead letter that says why, and the good ones arrive', async () => {
  await browserOf('ann');
  const { worker, origin } = await startWorker();
  const good = { user_id: 'ann', payload: { title: 'Hello' } };
  let deep: unknown = 1;
  for (let n = 0; n < 2_000; n += 1) deep = [deep];
  const rubbish = [
    7,
    'text',
    null,
    [],
    {},
    { ...good, user_id: { $ne: null } },
    { ...good, user_id: 1.5 },
    { ...good, user_id: 'x'.repeat(501) },
    { ...good, payload: 'text' },
    { ...good, payload: [] },
    { ...good, payload: { title: { toString: 'x' } } },
    { ...good, payload: { data: deep, body: 'x'.repeat(4_000) } },
    { ...good, ttl: -1 },
    { ...good, ttl: 1e308 },
    { ...good, ttl: '60' },
    { ...good, urgency: 'HIGH' },
    { ...good, topic: 'a b' },
    { ...good, topic: {} },
    JSON.parse('{"user_id":"ann","payload":{"title":"x"},"__proto__":{"x":1}}') as object,
  ];
  for (const payload of rubbish) {
    await db.pool.query('select outbox.emit($1, $2::jsonb)', ['push.requested', JSON.stringify(payload)]);
    await emit('push.requested', good);
  }
  await emit('push.broadcast', { payload: {} });
  await eventually(() => service.received.length === rubbish.length);
  await eventually(
    async () => (await listDead(db.pool, { limit: 100 })).events.length === rubbish.length + 1,
  );
  const { events } = await listDead(db.pool, { limit: 100 });
  for (const { reason } of events) expect(reason).toMatch(/^expected .+, got .+; .+/);
  expect((await fetch(`${origin}/health`)).status).toBe(200);
  expect((await fetch(`${origin}/health/ready`)).status).toBe(200);
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
});

test('a database that drops every connection in mid-batch costs no notification and sends none twice', async () => {
  const users = Array.from({ length: 40 }, (_, n) => `user ${n}`);
  for (const user of users) await browserOf(user);
  const { worker } = await startWorker({ PUSH_CONCURRENCY: '4', OUTBOX_LEASE_SECONDS: '5' });
  let ended = 0;
  service.answer((_endpoint, request) => {
    if (request === 10 || request === 20 || request === 30) {
      void db.pool
        .query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and application_name = 'pulsebox-push-worker'`,
        )
        .then(({ rowCount }) => (ended += rowCount ?? 0));
    }
    return undefined;
  });
  await db.pool.query(
    `insert into outbox.event (topic, payload)
     select 'push.requested', jsonb_build_object('user_id', u, 'payload', jsonb_build_object('title', u))
     from unnest($1::text[]) u`,
    [users],
  );
  await eventually(
    async () =>
      (await db.pool.query(`select from push.delivery where outcome = 'sent'`)).rowCount === users.length,
    { message: worker.output() },
  );
  expect(service.received).toHaveLength(users.length);
  expect(ended).toBeGreaterThan(3);
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
});

test('at the lowest level of the log nothing tells an endpoint, a key or a token, whatever goes wrong', async () => {
  const browsers: BrowserSubscription[] = [];
  for (let n = 0; n < 8; n += 1) browsers.push(await browserOf('ann'));
  // What a stranger stored: no point of the curve, and an endpoint inside the network.
  await db.pool.query(
    `insert into app.push_subscriptions (user_id, endpoint, p256dh, auth)
     values ('ann', 'https://169.254.169.254/inside-secret', repeat('s', 87), repeat('t', 22)),
            ('ann', $1, repeat('s', 87), repeat('t', 22))`,
    [`${service.origin}/send/keyless-secret`],
  );
  const secret = (text: string): string => text.slice(-20);
  service.answer((endpoint, request) => {
    const body = `{"reason":"${endpoint} ${browsers[0]?.auth}"}`;
    if (request === 1) return 'reset';
    if (request === 2) return { status: 403, body };
    if (request === 3) return { status: 400, body };
    if (request === 4) return { status: 429, body, headers: { 'retry-after': endpoint } };
    if (request === 5) return { status: 410, body };
    if (request === 6) return { status: 307, headers: { location: endpoint } };
    if (request === 7) return { status: 500, body };
    return undefined;
  });
  const { worker, origin } = await startWorker({ LOG_LEVEL: 'trace', PUSH_WORKER_POLL_SECONDS: '0.2' });
  await emit('push.requested', { user_id: 'ann', payload: { title: 'Hello', body: 'a private matter' } });
  await eventually(async () => {
    await db.pool.query(
      `update pgboss.job set start_after = now() where name = 'push-retry' and state = 'created'`,
    );
    const { rows } = await db.pool.query<{ n: number }>(
      `select count(*)::int as n from push.delivery where outcome not in ('waiting')`,
    );
    return rows[0]?.n === 10;
  });
  const seen: string[] = [];
  for (const path of ['/health', '/health/ready', '/metrics'])
    seen.push(await (await fetch(origin + path)).text());
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
  const { rows } = await db.pool.query('select data, output from pgboss.job');
  const { rows: dead } = await db.pool.query('select errors from outbox.parked');
  const told = [worker.output(), ...seen, JSON.stringify([rows, dead])].join('\n');
  expect(told).toContain('"level":"debug"');
  for (const { endpoint, p256dh, auth } of browsers)
    for (const text of [endpoint, p256dh, auth]) expect(told).not.toContain(secret(text));
  const tokens = service.received.map(({ authorization }) => authorization);
  for (const text of [keys.privateKey, 'inside-secret', 'keyless-secret', 's'.repeat(87), ...tokens])
    expect(told).not.toContain(text);
  // Neither is what was meant for the user, but for the jobs that still have to send it.
  expect([worker.output(), ...seen, JSON.stringify(dead)].join('\n')).not.toContain('a private matter');
});

test('what is refused in a retry stands among the dead letters, and its replay arrives', async () => {
  const browser = await browserOf('ann');
  const { worker } = await startWorker({ PUSH_WORKER_POLL_SECONDS: '0.2' });
  service.answer((_endpoint, request) => ({ status: request === 1 ? 503 : 413 }));
  await emit('push.requested', { user_id: 'ann', payload: { title: 'Hello' } });
  const due = `update pgboss.job set start_after = now() where name = 'push-retry' and state = 'created'`;
  await eventually(async () => {
    await db.pool.query(due);
    return (await listDead(db.pool)).events.length === 1;
  });
  const { events } = await listDead(db.pool);
  expect(events).toEqual([
    expect.objectContaining({
      group: 'push',
      topic: 'push.requested',
      reason: expect.stringMatching(/^subscription \d+: .* answered 413$/) as string,
    }),
  ]);
  service.answer(() => undefined);
  await replayDead(db.pool, { filter: { group: 'push' } });
  await eventually(() => service.received.length === 1);
  expect(service.received[0]).toMatchObject({ endpoint: browser.endpoint, plaintext: '{"title":"Hello"}' });
  await eventually(async () => (await db.pool.query('select from outbox.parked')).rowCount === 0);
  worker.kill('SIGTERM');
  expect(await worker.exited).toMatchObject({ code: 0 });
});

test('says what is wrong with its configuration, every fault at once and no key', async () => {
  const worker = runProgram(ENTRY, {
    args: ['--loop'],
    env: environment({
      VAPID_PUBLIC_KEY: generateVapidKeys().publicKey,
      PUSH_ALLOWED_ORIGINS: 'fcm.googleapis.com',
    }),
  });
  expect(await worker.exited).toMatchObject({ code: 1 });
  expect(worker.output()).toContain('expected the public VAPID key to belong to the private one');
  expect(worker.output()).toContain(
    'PUSH_ALLOWED_ORIGINS: expected an origin such as https://fcm.googleapis.com',
  );
  expect(worker.output()).not.toContain(keys.privateKey);

  const half = runProgram(ENTRY, {
    args: ['--loop'],
    env: environment({ VAPID_PRIVATE_KEY: '', VAPID_SUBJECT: '' }),
  });
  expect(await half.exited).toMatchObject({ code: 1 });
  expect(half.output()).toContain('but unset: VAPID_PRIVATE_KEY, VAPID_SUBJECT; without keys push is off');
});

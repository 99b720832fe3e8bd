// One message to one subscription, against a real push service over TLS.

import { createECDH, ECDH } from 'node:crypto';
import { createMessage, createPushSender, generateVapidKeys } from '@pulsebox/push';
import type { Outcome, PushSender, PushSenderOptions } from '@pulsebox/push';
import { createCertificate, eventually, startPushService } from '@pulsebox/test-support';
import type { BrowserSubscription, PushService, PushServiceOptions } from '@pulsebox/test-support';
import { expect, onTestFinished, test } from 'vitest';

const keys = generateVapidKeys();
const vapid = { ...keys, subject: 'mailto:push@pulsebox.example' };
const message = createMessage(
  { title: 'Hello', data: { id: 7 } },
  { ttlSeconds: 60, urgency: 'high', topic: 'mail' },
);
const signal = new AbortController().signal;

async function start(options: PushServiceOptions = {}): Promise<PushService> {
  const service = await startPushService(options);
  onTestFinished(() => service.close());
  return service;
}

function senderTo(service: PushService, options: Partial<PushSenderOptions> = {}): PushSender {
  const sender = createPushSender({ vapid, ca: service.ca, privateOrigins: [service.origin], ...options });
  onTestFinished(() => sender.close());
  return sender;
}

function send(sender: PushSender, subscription: BrowserSubscription): Promise<Outcome> {
  return sender.send(subscription, message, { signal });
}

test.each([
  ['HTTP/2', false, '2.0'],
  ['HTTP/1.1', true, '1.1'],
])(
  'a browser reads what is sent over %s, and the service finds nothing wrong',
  async (_name, http1, httpVersion) => {
    const service = await start({ http1 });
    const sender = senderTo(service);
    const browser = service.subscribe();
    const outcome = await sender.send(browser, message, { signal, ttlSeconds: 42 });
    expect(outcome).toMatchObject({ kind: 'sent', status: 201, origin: service.origin });
    expect(service.violations).toEqual([]);
    expect(service.received).toEqual([
      expect.objectContaining({
        endpoint: browser.endpoint,
        plaintext: '{"title":"Hello","data":{"id":7}}',
        ttl: 42,
        urgency: 'high',
        topic: 'mail',
        httpVersion,
      }),
    ]);
    expect(service.received[0]?.vapid).toMatchObject({ sub: vapid.subject, publicKey: keys.publicKey });
  },
);

test('the longest message there may be is taken', async () => {
  const service = await start();
  const longest = createMessage({ title: 'x'.repeat(3_993 - '{"title":""}'.length) });
  expect(await senderTo(service).send(service.subscribe(), longest, { signal })).toMatchObject({
    kind: 'sent',
  });
  expect(service.received[0]?.plaintext).toHaveLength(3_993);
});

test('many messages at once share one connection of HTTP/2 and one token', async () => {
  const service = await start({ latencyMs: 5 });
  const sender = senderTo(service);
  const outcomes = await Promise.all(Array.from({ length: 90 }, () => send(sender, service.subscribe())));
  expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['sent']));
  expect(service.counts.connections).toBe(1);
  expect(new Set(service.received.map(({ authorization }) => authorization)).size).toBe(1);
});

test('a message that waits for a connection is given up at once, and not sent when there is one', async () => {
  const service = await start({ http1: true });
  const sender = senderTo(service, { connectionsPerOrigin: 1 });
  const [first, second] = [new AbortController(), new AbortController()];
  service.answer(() => 'never');
  const holds = sender.send(service.subscribe(), message, { signal: first.signal });
  await eventually(() => service.counts.requests === 1);
  const waits = sender.send(service.subscribe(), message, { signal: second.signal });
  second.abort();
  expect(await waits).toMatchObject({ kind: 'aborted' });
  first.abort();
  expect(await holds).toMatchObject({ kind: 'aborted' });

  service.answer(() => undefined);
  const last = service.subscribe();
  expect(await send(sender, last)).toMatchObject({ kind: 'sent' });
  expect(service.received.map(({ endpoint }) => endpoint)).toEqual([last.endpoint]);
  expect(service.counts.requests).toBe(2);
});

test('over HTTP/1.1 connections are kept, and there are no more of them than allowed', async () => {
  const service = await start({ http1: true });
  const sender = senderTo(service, { connectionsPerOrigin: 3 });
  for (let n = 0; n < 4; n += 1)
    await Promise.all(Array.from({ length: 10 }, () => send(sender, service.subscribe())));
  expect(service.received).toHaveLength(40);
  expect(service.counts.connections).toBeLessThanOrEqual(3);
});

test.each([
  [{ status: 410 }, { kind: 'gone' }],
  [{ status: 413 }, { kind: 'rejected' }],
  [
    { status: 403, body: '{"reason":"BadJwtToken"}' },
    { kind: 'denied', detail: 'answered 403 (BadJwtToken)' },
  ],
  [
    { status: 429, headers: { 'retry-after': '7' } },
    { kind: 'throttled', retryAfterMs: 7_000 },
  ],
  [{ status: 503 }, { kind: 'unavailable' }],
] as const)('%j comes out as %j', async (answer, expected) => {
  const service = await start();
  service.answer(() => answer);
  const { detail = '', ...rest } = expected as { detail?: string; kind: string };
  const outcome = await send(senderTo(service), service.subscribe());
  expect(outcome).toMatchObject(rest);
  expect(outcome.detail).toContain(detail);
});

test.each([false, true])('a redirect is not followed (HTTP/1.1: %s)', async (http1) => {
  const service = await start({ http1 });
  const target = await start({ http1 });
  const elsewhere = target.subscribe();
  service.answer(() => ({ status: 307, headers: { location: elsewhere.endpoint } }));
  expect(
    await send(
      senderTo(service, { ca: service.ca + target.ca, privateOrigins: [service.origin, target.origin] }),
      service.subscribe(),
    ),
  ).toMatchObject({
    kind: 'rejected',
    status: 307,
  });
  expect(target.counts.requests).toBe(0);
});

test.each([
  ['a service that never answers', 'never' as const],
  ['one that answers too late', { status: 201, afterMs: 60_000 }],
])('%s is given up at the deadline, and the next message goes through', async (_name, behaviour) => {
  for (const http1 of [false, true]) {
    const service = await start({ http1 });
    service.answer((_endpoint, request) => (request === 1 ? behaviour : undefined));
    const sender = senderTo(service, { timeoutMs: 2_000 });
    expect(await send(sender, service.subscribe())).toMatchObject({
      kind: 'unavailable',
      detail: `${service.origin} did not answer in time`,
    });
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'sent' });
  }
});

test('of an answer without end only a little is read', async () => {
  for (const http1 of [false, true]) {
    const service = await start({ http1 });
    const sender = senderTo(service, { timeoutMs: 10_000 });
    service.answer(() => ({ status: 400, endless: true }));
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'rejected' });
    // It was taken: that the rest never ends changes nothing of it.
    service.answer(() => ({ status: 201, endless: true }));
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'sent' });
    service.answer(() => undefined);
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'sent' });
  }
});

test('a connection that breaks is a fault of the service, and the next message makes a new one', async () => {
  for (const http1 of [false, true]) {
    const service = await start({ http1 });
    service.answer((_endpoint, request) => (request === 1 ? 'reset' : undefined));
    const sender = senderTo(service);
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'unavailable' });
    expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'sent' });
  }
});

test('nothing listens: no connection, with the reason', async () => {
  const service = await start();
  const browser = service.subscribe();
  await service.close();
  const outcome = await send(senderTo(service), browser);
  expect(outcome).toMatchObject({
    kind: 'unavailable',
    detail: `no connection to ${service.origin} (ECONNREFUSED)`,
  });
});

test('a certificate that nobody vouches for is no push service', async () => {
  const service = await start();
  const sender = createPushSender({ vapid, privateOrigins: [service.origin] });
  onTestFinished(() => sender.close());
  expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'unavailable' });
  expect(service.counts.requests).toBe(0);
});

test('an endpoint inside the network is never connected to, whether it says so or its name does', async () => {
  const service = await start({ certificate: createCertificate(['localhost', 'push.example']) });
  const browser = service.subscribe();
  const direct = createPushSender({ vapid, ca: service.ca });
  const named = createPushSender({
    vapid,
    ca: service.ca,
    allowedOrigins: [service.origin.replace('localhost', 'push.example')],
    resolve: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
  });
  onTestFinished(() => direct.close());
  onTestFinished(() => named.close());
  for (const endpoint of [
    browser.endpoint,
    browser.endpoint.replace('localhost', '127.0.0.1'),
    browser.endpoint.replace('localhost', '[::1]'),
  ]) {
    expect(await send(direct, { ...browser, endpoint })).toMatchObject({ kind: 'forbidden' });
  }
  const outcome = await send(named, {
    ...browser,
    endpoint: browser.endpoint.replace('localhost', 'push.example'),
  });
  expect(outcome).toMatchObject({
    kind: 'forbidden',
    detail: expect.stringContaining('127.0.0.1') as string,
  });
  expect(service.counts.connections).toBe(0);
});

test('a name that answers something else the second time gains nothing: it is asked once', async () => {
  const service = await start();
  let asked = 0;
  const sender = createPushSender({
    vapid,
    ca: service.ca,
    timeoutMs: 300,
    allowedOrigins: [service.origin],
    // Public at the first look, this machine at the second. 192.0.2.1 would be documentation: 203.0.114.1 is public.
    resolve(_name, _options, done) {
      asked += 1;
      done(null, [{ address: asked === 1 ? '203.0.114.1' : '127.0.0.1', family: 4 }]);
    },
  });
  onTestFinished(() => sender.close());
  expect(await send(sender, service.subscribe())).toMatchObject({ kind: 'unavailable' });
  expect(asked).toBe(1);
  expect(service.counts.connections).toBe(0);
});

test('a service that fails again and again is left alone; others are not', async () => {
  const service = await start();
  const other = await start();
  const sender = senderTo(service, {
    ca: service.ca + other.ca,
    privateOrigins: [service.origin, other.origin],
    breaker: { threshold: 3, firstMs: 60_000 },
  });
  service.answer(() => ({ status: 500 }));
  const browser = service.subscribe();
  for (let n = 0; n < 3; n += 1) await send(sender, browser);
  const held = await send(sender, browser);
  expect(held).toMatchObject({ kind: 'held' });
  expect(held.retryAfterMs).toBeGreaterThan(20_000);
  expect(service.counts.requests).toBe(3);
  expect(await send(sender, other.subscribe())).toMatchObject({ kind: 'sent' });
});

function inAnotherForm(p256dh: string, form: number): string {
  const point = Buffer.from(p256dh, 'base64url');
  point[0] = form;
  return point.toString('base64url');
}

function ofCurve(name: string): string {
  const pair = createECDH(name);
  pair.generateKeys();
  return pair.getPublicKey('base64url');
}

test('keys that are none are told from a service that is away', async () => {
  const service = await start();
  const browser = service.subscribe();
  const sender = senderTo(service);
  for (const broken of [
    { p256dh: 'AAAA' },
    { p256dh: Buffer.alloc(65, 4).toString('base64url') },
    { auth: 'AA' },
    { p256dh: Buffer.alloc(65).toString('base64url') },
    // The point at infinity, and points written in other ways.
    { p256dh: 'AA' },
    { p256dh: inAnotherForm(browser.p256dh, 6) },
    { p256dh: inAnotherForm(browser.p256dh, 7) },
    {
      p256dh: ECDH.convertKey(browser.p256dh, 'prime256v1', 'base64url', 'base64url', 'compressed') as string,
    },
    // Of other curves, and beyond the field.
    { p256dh: ofCurve('secp256k1') },
    { p256dh: ofCurve('secp384r1') },
    { p256dh: Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 0xff)]).toString('base64url') },
    { p256dh: '' },
    { p256dh: '\u0000'.repeat(87) },
  ])
    expect(await send(sender, { ...browser, ...broken })).toMatchObject({ kind: 'invalid' });
  expect(service.counts.requests).toBe(0);
});

test('what is given up says so, and a sender that is closed leaves no connection behind', async () => {
  const service = await start();
  service.answer(() => 'never');
  const sender = senderTo(service);
  const giveUp = new AbortController();
  const sending = sender.send(service.subscribe(), message, { signal: giveUp.signal });
  await eventually(() => service.counts.requests === 1);
  giveUp.abort();
  expect(await sending).toMatchObject({ kind: 'aborted' });
  await sender.close();
  await sender.close();
});

test('no outcome tells an endpoint or a key', async () => {
  const service = await start();
  const browser = service.subscribe();
  service.answer((endpoint) => ({ status: 400, body: `{"reason":"${endpoint} ${browser.auth}"}` }));
  const outcomes = [
    await send(senderTo(service), browser),
    await send(senderTo(service, { privateOrigins: [] }), browser),
    await send(senderTo(service), { ...browser, p256dh: 'AAAA' }),
  ];
  const said = JSON.stringify(outcomes);
  for (const secret of [new URL(browser.endpoint).pathname, browser.auth, browser.p256dh, keys.privateKey])
    expect(said).not.toContain(secret);
});

test.each([
  [{ allowedOrigins: ['fcm.googleapis.com'] }, 'expected an origin such as'],
  [{ privateOrigins: ['https://push.lan/path'] }, 'expected an origin such as'],
])('options that would match nothing are refused: %j', (options, said) => {
  expect(() => createPushSender({ vapid, ...options })).toThrow(said);
});

// Push services that break every rule: each request ends within its deadline and with an outcome, nothing is left open,
// and the next request finds a way.

import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { createMessage, createPushSender, generateVapidKeys } from '@pulsebox/push';
import type { Outcome, PushSender, PushSenderOptions } from '@pulsebox/push';
import { browserKeys, eventually, startPushService } from '@pulsebox/test-support';
import { expect, onTestFinished, test } from 'vitest';
import {
  NGHTTP2_ENHANCE_YOUR_CALM,
  NGHTTP2_INTERNAL_ERROR,
  NGHTTP2_REFUSED_STREAM,
  startHttp2,
  startRaw,
  startSilent,
} from './hostile-service.ts';
import type { HostileService } from './hostile-service.ts';

const vapid = { ...generateVapidKeys(), subject: 'mailto:push@pulsebox.example' };
const message = createMessage({ title: 'Hello' });
const { p256dh, auth } = browserKeys();

async function opened(starting: Promise<HostileService>): Promise<HostileService> {
  const service = await starting;
  onTestFinished(() => service.close());
  return service;
}

function senderTo(
  services: readonly { origin: string; ca: string }[],
  options: Partial<PushSenderOptions> = {},
): PushSender {
  const sender = createPushSender({
    vapid,
    ca: services.map(({ ca }) => ca).join(''),
    privateOrigins: services.map(({ origin }) => origin),
    timeoutMs: 300,
    ...options,
  });
  onTestFinished(() => sender.close());
  return sender;
}

function send(sender: PushSender, { origin }: { origin: string }, owner = 'ann'): Promise<Outcome> {
  const { signal } = new AbortController();
  return sender.send({ endpoint: `${origin}/send/secret`, p256dh, auth }, message, { signal, owner });
}

/** Sockets that this process has open, where the system tells. Node's own list leaves out what it does not wait for. */
function openSockets(): number {
  const folder = '/proc/self/fd';
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).filter((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

/** Before the first service: pipes to the test runner, and the like. */
const ofTheProcess = openSockets();

/** Ours to the service, without its own ends of them and its listening one, which are in this process as well. */
function ourSockets({ counts }: HostileService): number {
  return Math.max(0, openSockets() - ofTheProcess - counts.open - 1);
}

/** Goes on with it for ever, until the connection is gone. */
function dripping(
  socket: { writable: boolean; write(text: string): unknown; on(event: 'close', done: () => void): unknown },
  text: string,
): void {
  const timer = setInterval(() => {
    if (socket.writable) socket.write(text);
  }, 5);
  socket.on('close', () => clearInterval(timer));
}

const TAKEN = 'HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n';

test.each<[string, () => Promise<HostileService>]>([
  ['a handshake that never ends', () => startSilent()],
  ['no TLS at all', () => startSilent((socket) => void socket.write('HTTP/1.1 201 Created\r\n\r\n'))],
  ['a connection that is closed at once', () => startSilent((socket) => void socket.destroy())],
  ['a status line that never ends', () => startRaw((socket) => dripping(socket, 'HTTP/1.1 201 Created'))],
  [
    'headers that come one byte at a time',
    () =>
      startRaw((socket) => {
        socket.write('HTTP/1.1 201 Created\r\nx: ');
        dripping(socket, 'x');
      }),
  ],
  [
    'headers without end',
    () =>
      startRaw((socket) => {
        socket.write('HTTP/1.1 201 Created\r\n');
        dripping(socket, `x-y: ${'z'.repeat(10_000)}\r\n`);
      }),
  ],
  [
    'one early hint after the other',
    () => startRaw((socket) => dripping(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n')),
  ],
  ['"continue" without end', () => startRaw((socket) => dripping(socket, 'HTTP/1.1 100 Continue\r\n\r\n'))],
  [
    'another protocol',
    () =>
      startRaw(
        (socket) =>
          void socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      ),
  ],
  ['a status that is none', () => startRaw((socket) => void socket.write('HTTP/1.1 20x Fine\r\n\r\n'))],
  ['bytes that are no HTTP', () => startRaw((socket) => void socket.write(Buffer.alloc(10_000, 0xff)))],
  [
    'an end in the middle of the headers',
    () => startRaw((socket) => void socket.end('HTTP/1.1 201 Created\r\nx: y')),
  ],
  [
    'no stream at all over HTTP/2',
    () => startHttp2({ settings: { maxConcurrentStreams: 0 }, onStream: () => undefined }),
  ],
  [
    'GOAWAY before the first stream',
    () =>
      startHttp2({
        onSession: (session) => session.goaway(NGHTTP2_ENHANCE_YOUR_CALM),
        onStream: () => undefined,
      }),
  ],
  [
    'GOAWAY in the middle of a stream',
    () => startHttp2({ onStream: (stream) => stream.session?.goaway(NGHTTP2_INTERNAL_ERROR, 0) }),
  ],
  [
    'a stream that is reset',
    () => startHttp2({ onStream: (stream) => stream.close(NGHTTP2_INTERNAL_ERROR) }),
  ],
  [
    'a stream that is refused',
    () => startHttp2({ onStream: (stream) => stream.close(NGHTTP2_REFUSED_STREAM) }),
  ],
  [
    'hints without end over HTTP/2',
    () =>
      startHttp2({
        onStream: (stream) => {
          const timer = setInterval(() => {
            if (!stream.destroyed && !stream.headersSent) stream.additionalHeaders({ ':status': 103 });
          }, 5);
          stream.on('close', () => clearInterval(timer));
        },
      }),
  ],
  [
    'headers as large as HTTP/2 can carry',
    () =>
      startHttp2({
        onStream: (stream) =>
          stream.respond({ ':status': 201, 'x-y': 'z'.repeat(60_000), 'x-z': 'z'.repeat(60_000) }),
      }),
  ],
])('%s: the service is unavailable, nothing is left open', async (_name, start) => {
  const service = await opened(start());
  const sender = senderTo([service], { breaker: { threshold: 100 } });
  for (let n = 0; n < 3; n += 1) {
    const outcome = await send(sender, service);
    expect(outcome.kind, outcome.detail).toBe('unavailable');
    expect(outcome.detail).not.toContain('secret');
  }
  await sender.close();
  await eventually(() => ourSockets(service) === 0);
});

test.each<[string, () => Promise<HostileService>]>([
  [
    'a body that comes one byte at a time',
    () =>
      startRaw((socket) => {
        socket.write('HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n');
        dripping(socket, '1\r\nx\r\n');
      }),
  ],
  [
    'trailers without end',
    () =>
      startRaw((socket) => {
        socket.write('HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n0\r\n');
        dripping(socket, `x-y: ${'z'.repeat(1_000)}\r\n`);
      }),
  ],
  [
    'a body that breaks off',
    () => startRaw((socket) => void socket.end('HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nx')),
  ],
  [
    'a body that claims to be endless',
    () =>
      startRaw(
        (socket) =>
          void socket.write(
            `HTTP/1.1 201 Created\r\ncontent-length: 9007199254740991\r\n\r\n${'x'.repeat(10_000)}`,
          ),
      ),
  ],
  [
    'a body that never comes over HTTP/2',
    () => startHttp2({ onStream: (stream) => stream.respond({ ':status': 201 }) }),
  ],
  [
    'a stream that is reset after the status',
    () =>
      startHttp2({
        onStream: (stream) => {
          stream.respond({ ':status': 201 });
          stream.write('x', () => stream.close(NGHTTP2_INTERNAL_ERROR));
        },
      }),
  ],
  ['twenty answers to one request', () => startRaw((socket) => void socket.write(TAKEN.repeat(20)))],
])('%s: what was taken is taken', async (_name, start) => {
  const service = await opened(start());
  const sender = senderTo([service], { timeoutMs: 3_000, breaker: { threshold: 100 } });
  expect(await send(sender, service)).toMatchObject({ kind: 'sent' });
  await sender.close();
  await eventually(() => ourSockets(service) === 0);
});

test('a stream that is refused, or a session that goes away, is made good by the next connection', async () => {
  const service = await opened(
    startHttp2({
      onStream: (stream, request) => {
        if (request === 1) stream.close(NGHTTP2_REFUSED_STREAM);
        else if (request === 2) stream.session?.goaway(NGHTTP2_INTERNAL_ERROR, 0);
        else stream.respond({ ':status': 201 }, { endStream: true });
      },
    }),
  );
  const sender = senderTo([service], { timeoutMs: 5_000 });
  const kinds: string[] = [];
  for (let n = 0; n < 4; n += 1) kinds.push((await send(sender, service)).kind);
  expect(kinds.slice(-2)).toEqual(['sent', 'sent']);
});

test('one that says goodbye to each connection and never ends it does not have us run out of sockets', async () => {
  const service = await opened(
    startHttp2({
      onSession: (session) => session.goaway(NGHTTP2_ENHANCE_YOUR_CALM),
      onStream: () => undefined,
    }),
  );
  const sender = senderTo([service], {
    timeoutMs: 20_000,
    breaker: { threshold: 1_000 },
    connectionsPerOrigin: 3,
  });
  for (let n = 0; n < 40; n += 1) await send(sender, service);
  expect(service.counts.connections).toBeGreaterThan(40);
  await eventually(() => ourSockets(service) <= 6);
});

test('a connection that has died without a word is replaced after the first that it swallows', async () => {
  // As behind a firewall that has forgotten it: it stands, and nothing comes through.
  let sessions = 0;
  const service = await opened(
    startHttp2({
      onSession: (_session, connection) => {
        sessions = connection;
      },
      onStream: (stream, request) => {
        if (sessions > 1 || request === 1) stream.respond({ ':status': 201 }, { endStream: true });
      },
    }),
  );
  const sender = senderTo([service], { timeoutMs: 3_000 });
  expect(await send(sender, service)).toMatchObject({ kind: 'sent' });
  const kinds: string[] = [];
  for (let n = 0; n < 3; n += 1) kinds.push((await send(sender, service)).kind);
  expect(kinds.slice(-2)).toEqual(['sent', 'sent']);
  expect(sessions).toBe(2);
});

test('one that always answers a moment before the deadline is left alone before it holds up everybody', async () => {
  const slow = await startPushService();
  const well = await startPushService();
  onTestFinished(() => slow.close());
  onTestFinished(() => well.close());
  slow.answer(() => ({ status: 201, afterMs: 3_600 }));
  const sender = senderTo([slow, well], { timeoutMs: 6_000, breaker: { threshold: 4, firstMs: 60_000 } });
  const first = await Promise.all(Array.from({ length: 4 }, () => send(sender, slow)));
  // They were sent nonetheless.
  expect(new Set(first.map(({ kind }) => kind))).toEqual(new Set(['sent']));
  expect(await send(sender, slow)).toMatchObject({ kind: 'held' });
  const { signal } = new AbortController();
  expect(await sender.send(well.subscribe(), message, { signal })).toMatchObject({ kind: 'sent' });
});

test('broken subscriptions of one user do not have their service left alone', async () => {
  const service = await startPushService();
  onTestFinished(() => service.close());
  const sender = senderTo([service], { timeoutMs: 5_000, breaker: { threshold: 3, firstMs: 60_000 } });
  for (const status of [401, 403, 429, 406]) {
    service.answer(() => ({ status }));
    for (let n = 0; n < 5; n += 1) await send(sender, service, 'mallory');
  }
  service.answer(() => undefined);
  const { signal } = new AbortController();
  expect(await sender.send(service.subscribe(), message, { signal })).toMatchObject({ kind: 'sent' });
});

test.each([
  ['-1', undefined],
  ['0', 0],
  ['1e9', undefined],
  ['12, 13', undefined],
  ['NaN', undefined],
  ['99999999999999999999', undefined],
  ['999999999', 999_999_999_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['Fri, 31 Dec 9999 23:59:59 GMT', expect.any(Number)],
  ['Someday', undefined],
  ['  7  ', 7_000],
  [`${' '.repeat(2_000)}x`, undefined],
])('Retry-After %j is no more than a number of milliseconds: %j', async (given, expected) => {
  const service = await startPushService({ http1: true });
  onTestFinished(() => service.close());
  service.answer(() => ({ status: 429, headers: { 'retry-after': given } }));
  const outcome = await send(senderTo([service], { timeoutMs: 5_000 }), service);
  expect(outcome).toMatchObject({ kind: 'throttled' });
  expect(outcome.retryAfterMs).toEqual(expected);
  expect(Number.isSafeInteger(outcome.retryAfterMs ?? 0)).toBe(true);
});

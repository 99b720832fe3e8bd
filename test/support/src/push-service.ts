// A push service over TLS, HTTP/2 and HTTP/1.1, that takes nothing on trust: it decrypts as the browser would, checks
// the VAPID token, and answers what a test wants it to.

import { randomBytes } from 'node:crypto';
import { createSecureServer } from 'node:http2';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { browserKeys } from './browser-keys.ts';
import type { BrowserKeys } from './browser-keys.ts';
import { createCertificate } from './certificate.ts';
import type { ServerCertificate } from './certificate.ts';
import { checkVapid } from './vapid-token.ts';
import type { VapidClaims } from './vapid-token.ts';

export interface BrowserSubscription {
  readonly endpoint: string;
  readonly p256dh: string;
  readonly auth: string;
}

export interface ReceivedPush {
  readonly endpoint: string;
  /** As the service worker would read it. */
  readonly plaintext: string;
  readonly ttl: number;
  readonly urgency: string;
  readonly topic: string | undefined;
  readonly httpVersion: string;
  readonly vapid: VapidClaims;
  readonly authorization: string;
}

export interface PushAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Before the status is sent, in milliseconds. */
  readonly afterMs?: number;
  /** The status is sent, and then bytes for ever. */
  readonly endless?: true;
}

/** `never`: no answer at all. `reset`: the connection breaks after the request has been taken. */
export type PushBehaviour = PushAnswer | 'never' | 'reset';

export interface PushService {
  readonly origin: string;
  /** PEM: what a client has to trust. */
  readonly ca: string;
  /** What was taken, in the order in which it came; refused requests are not in it. */
  readonly received: readonly ReceivedPush[];
  /** Requests that broke a rule of the protocol. Each is answered with 400. */
  readonly violations: readonly string[];
  /** How many requests came, whatever became of them; and how many connections. */
  readonly counts: { readonly requests: number; readonly connections: number };
  /** A browser that subscribes. */
  subscribe(): BrowserSubscription;
  /** The same endpoint with new keys. */
  renew(endpoint: string): BrowserSubscription;
  /** The user takes the permission back: 410 from now on. */
  unsubscribe(endpoint: string): void;
  /** Decides what is answered; undefined: what a good service would. Called before the request is checked. */
  answer(decide: (endpoint: string, request: number) => PushBehaviour | undefined): void;
  forget(): void;
  close(): Promise<void>;
}

export interface PushServiceOptions {
  /** Default: any that is free. */
  readonly port?: number;
  readonly certificate?: ServerCertificate;
  /** Speak HTTP/1.1 only. */
  readonly http1?: boolean;
  /** Before each answer, in milliseconds. Default 0. */
  readonly latencyMs?: number;
  /** False: count, and check nothing; for measurements. Default true. */
  readonly check?: boolean;
  /** Told of each message that is taken, before its answer: for measurements. */
  readonly onReceived?: (push: ReceivedPush) => void;
}

const LONGEST_BODY = 4_096;

export async function startPushService(options: PushServiceOptions = {}): Promise<PushService> {
  const { latencyMs = 0, check = true } = options;
  const { certificate, key } = options.certificate ?? createCertificate();
  const browsers = new Map<string, BrowserKeys>();
  const gone = new Set<string>();
  const received: ReceivedPush[] = [];
  const violations: string[] = [];
  const counts = { requests: 0, connections: 0 };
  const sockets = new Set<Socket>();
  let decide: (endpoint: string, request: number) => PushBehaviour | undefined = () => undefined;
  let origin = '';

  const onRequest = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => take(request, Buffer.concat(chunks), response));
  };
  // Of a request and its answer, only what both protocols have is used.
  const server =
    options.http1 === true
      ? createServer({ key, cert: certificate }, (request, response) =>
          onRequest(request as unknown as Http2ServerRequest, response as unknown as Http2ServerResponse),
        )
      : createSecureServer(
          { key, cert: certificate, allowHTTP1: true, settings: { maxConcurrentStreams: 100 } },
          onRequest,
        );
  server.on('connection', (socket: Socket) => {
    counts.connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('sessionError', () => undefined);
  server.on('tlsClientError', () => undefined);

  function take(request: Http2ServerRequest, body: Buffer, response: Http2ServerResponse): void {
    counts.requests += 1;
    const endpoint = origin + request.url;
    const behaviour = decide(endpoint, counts.requests);
    if (behaviour === 'never') return;
    if (behaviour === 'reset') {
      // Of HTTP/2 the session, of HTTP/1.1 the socket.
      if (request.httpVersionMajor === 2) request.stream.session?.destroy();
      else request.socket.destroy();
      return;
    }
    const given = behaviour ?? good(request, body, endpoint);
    const waitMs = (behaviour?.afterMs ?? 0) + latencyMs;
    if (waitMs === 0) respond(response, given);
    else setTimeout(() => respond(response, given), waitMs);
  }

  function good(request: Http2ServerRequest, body: Buffer, endpoint: string): PushAnswer {
    if (!check) return { status: 201 };
    if (gone.has(endpoint)) return { status: 410 };
    const browser = browsers.get(endpoint);
    if (browser === undefined) return { status: 404 };
    try {
      const push = checked(request, body, endpoint, browser);
      received.push(push);
      options.onReceived?.(push);
    } catch (error) {
      violations.push(error instanceof Error ? error.message : String(error));
      return { status: 400, body: 'broken rule' };
    }
    return { status: 201, headers: { location: `${origin}/message/${received.length}` } };
  }

  function checked(
    { headers, method, httpVersion }: Http2ServerRequest,
    body: Buffer,
    endpoint: string,
    browser: BrowserKeys,
  ): ReceivedPush {
    const header = (name: string): string | undefined => {
      const value = headers[name];
      return typeof value === 'string' ? value : undefined;
    };
    if (method !== 'POST') throw new Error(`method ${method}`);
    if (header('content-encoding') !== 'aes128gcm') throw new Error('another content encoding');
    if (body.length > LONGEST_BODY) throw new Error(`${body.length} bytes`);
    // A push service is a stranger: what happens inside of the sender is none of its business.
    if (header('traceparent') !== undefined) throw new Error('a trace of the sender');
    const ttl = header('ttl');
    if (ttl === undefined || !/^\d+$/.test(ttl)) throw new Error('no ttl');
    const topic = header('topic');
    if (topic !== undefined && !/^[\w-]{1,32}$/.test(topic)) throw new Error('a bad topic');
    const urgency = header('urgency') ?? 'normal';
    if (!['very-low', 'low', 'normal', 'high'].includes(urgency)) throw new Error('a bad urgency');
    const authorization = header('authorization') ?? '';
    const vapid = checkVapid(authorization, origin);
    const plaintext = browser.decrypt(body);
    return { endpoint, plaintext, ttl: Number(ttl), urgency, topic, httpVersion, vapid, authorization };
  }

  function respond(response: Http2ServerResponse, { status, headers, body, endless }: PushAnswer): void {
    response.on('error', () => undefined);
    if (headers === undefined) response.writeHead(status);
    else response.writeHead(status, headers);
    if (endless !== true) {
      response.end(body ?? '');
      return;
    }
    const pour = setInterval(() => response.write('x'.repeat(1_000)), 1);
    response.on('close', () => clearInterval(pour));
  }

  function join(endpoint: string): BrowserSubscription {
    const browser = browserKeys();
    browsers.set(endpoint, browser);
    gone.delete(endpoint);
    return { endpoint, p256dh: browser.p256dh, auth: browser.auth };
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  origin = `https://localhost:${address.port}`;

  return {
    origin,
    ca: certificate,
    received,
    violations,
    counts,
    subscribe: () => join(`${origin}/send/${randomBytes(24).toString('base64url')}`),
    renew: join,
    unsubscribe: (endpoint) => void gone.add(endpoint),
    answer(next): void {
      decide = next;
    },
    forget(): void {
      received.length = 0;
      violations.length = 0;
      counts.requests = 0;
    },
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

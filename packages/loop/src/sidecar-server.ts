// The sidecar's HTTP server. It stands between strangers and a worker: small limits on everything.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Report } from './health-report.ts';

export interface Endpoints {
  readonly reports: Readonly<Record<string, () => Report>>;
  /** Prometheus text. */
  metrics(): Promise<string>;
}

/** Slow clients are gone after 2 s; this many are borne until then, in some megabytes. */
const MOST_CONNECTIONS = 512;

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

export function createSidecarServer(endpoints: Endpoints): Server {
  const server = createServer(
    {
      maxHeaderSize: 8_192,
      headersTimeout: 2_000,
      requestTimeout: 5_000,
      connectionsCheckingInterval: 500,
    },
    (request, response) => {
      request.resume(); // A body is nobody's business here, but it must not stay in the socket.
      void answer(request, response, endpoints);
    },
  );
  boundConnections(server);
  server.setTimeout(10_000, (socket) => {
    socket.destroy();
  });
  return server;
}

/**
 * The oldest makes room for the newest: a probe takes milliseconds, and whoever has been connected for longer is more
 * likely in nobody's favour. Were newcomers refused, somebody who holds on to all places would have the worker restarted.
 */
function boundConnections(server: Server): void {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const [oldest] = open;
    if (open.size <= MOST_CONNECTIONS || oldest === undefined) return;
    open.delete(oldest);
    oldest.destroy();
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  endpoints: Endpoints,
): Promise<void> {
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  // One request a connection: thousands that are sent at once, without reading an answer, are not worked off.
  response.setHeader('Connection', 'close');
  const [path = '/'] = (request.url ?? '/').split('?', 1);
  const report = Object.hasOwn(endpoints.reports, path) ? endpoints.reports[path] : undefined;

  if (report === undefined && path !== '/metrics') {
    send(404, JSON_TYPE, { error: 'not found', endpoints: [...Object.keys(endpoints.reports), '/metrics'] });
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    send(405, JSON_TYPE, { error: 'method not allowed' });
  } else if (report === undefined) {
    send(200, METRICS_TYPE, await endpoints.metrics());
  } else {
    const { statusCode, body } = report();
    send(statusCode, JSON_TYPE, body);
  }

  function send(statusCode: number, type: string, body: string | Readonly<Record<string, unknown>>): void {
    const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
    response.writeHead(statusCode, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
    // Node leaves the body out by itself when the method is HEAD.
    response.end(text);
  }
}

// Push services that nobody would build, unless to harm whoever sends to them.

import { constants, createSecureServer } from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { createCertificate } from '@pulsebox/test-support';

export interface HostileService {
  readonly origin: string;
  readonly ca: string;
  readonly counts: { connections: number; requests: number; open: number };
  close(): Promise<void>;
}

const { certificate, key } = createCertificate();

/** Says no word of TLS, or not the right ones. */
export function startSilent(
  onConnection: (socket: Socket) => void = () => undefined,
): Promise<HostileService> {
  return listening(
    createServer((socket) => {
      // Who does not read does not learn of the end.
      socket.resume();
      onConnection(socket);
    }),
  );
}

/** Speaks TLS, and what the test makes of HTTP/1.1. */
export function startRaw(onRequest: (socket: TLSSocket, request: number) => void): Promise<HostileService> {
  const server = createTlsServer({ cert: certificate, key, ALPNProtocols: ['http/1.1'] });
  return listening(server, (service) => {
    server.on('secureConnection', (socket) => {
      socket.on('error', () => undefined);
      let read = '';
      socket.on('data', (chunk) => {
        read += chunk.toString('latin1');
        if (!read.includes('\r\n\r\n')) return;
        read = '';
        service.counts.requests += 1;
        onRequest(socket, service.counts.requests);
      });
    });
  });
}

export interface Http2Behaviour {
  readonly onSession?: (session: ServerHttp2Session, connection: number) => void;
  readonly onStream?: (stream: ServerHttp2Stream, request: number) => void;
  readonly settings?: Readonly<Record<string, number>>;
}

/** Speaks HTTP/2, and does with it as the test likes. */
export function startHttp2({ onSession, onStream, settings }: Http2Behaviour): Promise<HostileService> {
  const server = createSecureServer({
    cert: certificate,
    key,
    ...(settings === undefined ? {} : { settings }),
  });
  return listening(server, (service) => {
    let sessions = 0;
    server.on('session', (session) => {
      session.on('error', () => undefined);
      sessions += 1;
      onSession?.(session, sessions);
    });
    server.on('sessionError', () => undefined);
    server.on('stream', (stream) => {
      service.counts.requests += 1;
      stream.on('error', () => undefined);
      stream.resume();
      if (onStream === undefined) stream.respond({ ':status': 201 }, { endStream: true });
      else onStream(stream, service.counts.requests);
    });
  });
}

export const { NGHTTP2_REFUSED_STREAM, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_INTERNAL_ERROR } = constants;

async function listening(server: Server, set?: (service: HostileService) => void): Promise<HostileService> {
  const sockets = new Set<Socket>();
  const counts = { connections: 0, requests: 0, open: 0 };
  server.on('connection', (socket: Socket) => {
    counts.connections += 1;
    counts.open += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      counts.open -= 1;
      sockets.delete(socket);
    });
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const service: HostileService = {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    ca: certificate,
    counts,
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  set?.(service);
  return service;
}

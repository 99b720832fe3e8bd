// A collector of traces that keeps what it is sent: OTLP over HTTP, in JSON and in Protocol Buffers.

import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { spansOfJson, spansOfProtobuf } from './otlp-spans.ts';
import type { CollectedSpan } from './otlp-spans.ts';

/** `taken`; a status that refuses; no answer at all; or taken with this as the answer, in JSON. */
export type CollectorAnswer = 'taken' | number | 'silence' | object;

export interface OtlpCollector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** Of requests that were taken. */
  readonly spans: readonly CollectedSpan[];
  /** Of every request to the collector. */
  readonly headers: readonly IncomingHttpHeaders[];
  /** What requests are answered from now on. */
  answer(how: CollectorAnswer): void;
  forget(): void;
  close(): Promise<void>;
}

export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const headers: IncomingHttpHeaders[] = [];
  let answer: CollectorAnswer = 'taken';

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    headers.push(request.headers);
    if (answer === 'silence') return;
    if (request.method !== 'POST' || request.url !== '/v1/traces') response.writeHead(404).end();
    else if (typeof answer === 'number') response.writeHead(answer).end();
    else {
      const body = Buffer.concat(chunks);
      const isJson = request.headers['content-type'] === 'application/json';
      spans.push(...(isJson ? spansOfJson(body) : spansOfProtobuf(body)));
      response.writeHead(200, { 'content-type': request.headers['content-type'] ?? '' });
      response.end(isJson ? JSON.stringify(typeof answer === 'object' ? answer : {}) : undefined);
    }
  }

  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => response.writeHead(400).end(String(error)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    headers,
    answer(how): void {
      answer = how;
    },
    forget(): void {
      spans.length = 0;
      headers.length = 0;
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

// A span for each HTTP request that a handler makes by `fetch` or undici, and the header that carries its trace on.
//
// By what undici tells on its diagnostics channels, in the asynchronous context of whoever calls: no capability knows of
// it, and nothing is patched. Of the address of a request the span has the host alone. Paths name mailboxes and messages.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ChannelListener } from 'node:diagnostics_channel';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Span } from '@opentelemetry/api';

/** What undici tells of a request, as far as it is needed here. */
interface UndiciRequest {
  readonly origin?: string | URL | null;
  readonly method: string;
  addHeader(name: string, value: string): void;
}

const HEADERS = {
  set(request: UndiciRequest, name: string, value: string): void {
    // What is left of a `tracestate` that nobody could read.
    if (value !== '') request.addHeader(name, value);
  },
};

const TRACER = '@pulsebox/tracing';

/**
 * Requests within a span get one of their own from now on. It is known who is asked: the header goes to every host, so
 * this is for workers that ask none but those their operator has named.
 *
 * @returns what ends it
 */
export function traceRequests(): () => void {
  const spans = new WeakMap<object, Span>();

  function end(request: UndiciRequest): void {
    spans.get(request)?.end();
    spans.delete(request);
  }

  const listeners: Readonly<Record<string, ChannelListener>> = {
    'undici:request:create': (message): void => {
      if (trace.getSpan(context.active()) === undefined) return;
      const { request } = message as { readonly request: UndiciRequest };
      const span = trace.getTracer(TRACER).startSpan(request.method, {
        kind: SpanKind.CLIENT,
        attributes: { 'http.request.method': request.method, ...serverOf(request) },
      });
      propagation.inject(trace.setSpan(context.active(), span), request, HEADERS);
      if (span.isRecording()) spans.set(request, span);
    },
    'undici:request:headers': (message): void => {
      const { request, response } = message as {
        readonly request: UndiciRequest;
        readonly response: { readonly statusCode: number };
      };
      const { statusCode } = response;
      const span = spans.get(request)?.setAttribute('http.response.status_code', statusCode);
      if (statusCode >= 400)
        span?.setAttribute('error.type', String(statusCode)).setStatus({ code: SpanStatusCode.ERROR });
    },
    'undici:request:trailers': (message): void =>
      end((message as { readonly request: UndiciRequest }).request),
    'undici:request:error': (message): void => {
      const { request, error } = message as { readonly request: UndiciRequest; readonly error: unknown };
      spans.get(request)?.setAttribute('error.type', typeOf(error)).setStatus({ code: SpanStatusCode.ERROR });
      end(request);
    },
  };
  for (const [channel, listener] of Object.entries(listeners)) subscribe(channel, listener);
  return () => {
    for (const [channel, listener] of Object.entries(listeners)) unsubscribe(channel, listener);
  };
}

function serverOf({ origin }: UndiciRequest): { 'server.address'?: string; 'server.port'?: number } {
  const url = URL.parse(String(origin ?? ''));
  if (url === null) return {};
  const standard = url.protocol === 'https:' ? 443 : 80;
  return { 'server.address': url.hostname, 'server.port': url.port === '' ? standard : Number(url.port) };
}

function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

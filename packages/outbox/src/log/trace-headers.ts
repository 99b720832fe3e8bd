// How a trace goes through the log: in the headers of events, under the names of W3C Trace Context (`traceparent`).
//
// Of OpenTelemetry this package knows the API alone, which is made for libraries: it has no dependencies and does nothing
// until the application registers an SDK. So an application that traces itself has its events carry its traces, by
// calling `emit` as before.

import { context, propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Context } from '@opentelemetry/api';
import type { JsonValue, OutboxEvent } from './event.ts';

type Headers = Readonly<Record<string, JsonValue>>;

/** Headers are written by strangers: what is no text is no trace. */
const TEXTS = {
  get: (headers: Headers, name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  },
  keys: (headers: Headers): string[] => Object.keys(headers),
};

/** Whether anybody in this process carries traces on. Nothing else is done, and nothing looked at, while nobody does. */
export function isTracing(): boolean {
  return propagation.fields().length > 0;
}

/**
 * The headers that events need which are emitted now, so that they continue the trace of whoever emits them. `emit` adds
 * them by itself; they are for events that are written by a statement of one's own. Undefined: there is no trace.
 */
export function traceHeaders(): Readonly<Record<string, string>> | undefined {
  if (!isTracing()) return undefined;
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return Object.keys(headers).length === 0 ? undefined : headers;
}

/** The names of W3C Trace Context, which are those that events are passed on with to whoever does not know the log. */
const STANDARD_NAMES = ['traceparent', 'tracestate'] as const;

/** The headers of an event that name its trace, for what continues it outside of this process. Undefined: there are none. */
export function traceOf({
  headers,
}: Pick<OutboxEvent, 'headers'>): Readonly<Record<string, string>> | undefined {
  if (TEXTS.get(headers, 'traceparent') === undefined) return undefined;
  return Object.fromEntries(
    STANDARD_NAMES.flatMap((name) => {
      const value = TEXTS.get(headers, name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Whether the headers say of which trace they are, rightly or not. */
export function namesTrace(headers: Headers): boolean {
  return propagation.fields().some((name) => headers[name] !== undefined);
}

/** What headers of the same trace and span have in common, without parsing them. Undefined: they name no trace. */
export function traceKey(headers: Headers): string | undefined {
  let key = '';
  for (const name of propagation.fields()) key += `${TEXTS.get(headers, name) ?? ''}\n`;
  return key.trim() === '' ? undefined : key;
}

/** Where the trace stood when the event was emitted. What cannot be parsed is as if it were not there. */
export function emittedIn(headers: Headers): Context {
  return propagation.extract(ROOT_CONTEXT, headers, TEXTS);
}

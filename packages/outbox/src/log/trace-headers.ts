// How a trace goes through the log: in the headers of events, as W3C Trace Context has it (`traceparent`, `tracestate`).
//
// Of OpenTelemetry this package knows the API alone, which is made for libraries: it has no dependencies and does nothing
// until the application registers an SDK. So an application that traces itself has its events carry its traces, by
// calling `emit` as before.

import { context, propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Context, SpanContext } from '@opentelemetry/api';
import type { JsonValue, OutboxEvent } from './event.ts';

type Headers = Readonly<Record<string, JsonValue>>;

/** https://www.w3.org/TR/trace-context/#traceparent-header. Later versions may have more to say after a hyphen. */
const TRACEPARENT =
  /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-[!-~]{0,200})?$/;
/** What every implementation carries on. More, or what no header may hold, is left behind: it is of use to few. */
const TRACESTATE = /^[ -~]{1,512}$/;
const FIRST_VERSION = '00-';
const LENGTH_OF_FIRST = 55;

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

/**
 * The headers of an event that name its trace, for what continues it outside of this process: only what is well-formed, so
 * that nothing that they are put into is refused for them. Undefined: there are none.
 */
export function traceOf({
  headers,
}: Pick<OutboxEvent, 'headers'>): Readonly<Record<string, string>> | undefined {
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== 'string' || spanNamedBy(traceparent) === undefined) return undefined;
  return typeof tracestate === 'string' && TRACESTATE.test(tracestate)
    ? { traceparent, tracestate }
    : { traceparent };
}

/** Whether the headers say of which trace they are, rightly or not. */
export function namesTrace(headers: Headers): boolean {
  return propagation.fields().some((name) => headers[name] !== undefined);
}

/**
 * The span that a `traceparent` names. Undefined: it names none, whatever it is: headers are written by strangers.
 *
 * Read here, and not by the application's propagator, since each event of a batch may have another: that took 1.2 µs more
 * an event, a third of all that a drain takes.
 */
export function spanNamedBy(traceparent: string): SpanContext | undefined {
  if (traceparent.startsWith(FIRST_VERSION) && traceparent.length !== LENGTH_OF_FIRST) return undefined;
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

/** Whether it surely names no span that is recorded, without reading all of it. False: read it. */
export function isUnsampled(traceparent: JsonValue | undefined): boolean {
  return (
    typeof traceparent === 'string' && traceparent.length === LENGTH_OF_FIRST && traceparent.endsWith('-00')
  );
}

/** Where the trace stood when the event was emitted, with all that the application's propagator reads of it. */
export function emittedIn(event: Pick<OutboxEvent, 'headers'>): Context {
  return propagation.extract(ROOT_CONTEXT, traceOf(event) ?? {});
}

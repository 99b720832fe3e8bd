// A span around each call of a handler, joined to the traces of those who emitted its events, as OpenTelemetry's
// conventions for messaging have it: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
//
// A batch whose events are all of one trace is a part of that trace. One of several traces can be a part of none: it
// begins its own, with a link to each.

import { context, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import type { Attributes, Context, Link, Span, SpanContext } from '@opentelemetry/api';
import type { JsonValue, OutboxEvent } from '../log/event.ts';
import { emittedIn, isTracing, isUnsampled, spanNamedBy } from '../log/trace-headers.ts';

export interface TracedWork {
  /** The consumer group. */
  readonly group: string;
  /** At least one. */
  readonly events: readonly OutboxEvent[];
}

/** More would be cut off by the SDK, without a word. */
const MOST_LINKS = 128;

const TRACER = '@pulsebox/outbox';

/**
 * Runs a handler's work on these events in a span, the one that is active meanwhile: requests and events that come of it
 * continue its trace. The relay does so for each batch; a handler that works on each event by itself does so for each,
 * so that it is in the trace of that event, whatever else is in the batch. Without an SDK it is just a call.
 *
 * The span tells of numbers, names and codes. What a payload holds, or an error says, is for the log.
 *
 * @throws whatever `work` throws
 */
export async function inProcessSpan<T>(of: TracedWork, work: () => Promise<T>): Promise<T> {
  if (!isTracing()) return await work();
  const { parent, links } = originsOf(of.events);
  const topic = topicOf(of.events);
  return await trace
    .getTracer(TRACER)
    .startActiveSpan(
      `process ${topic ?? of.group}`,
      { kind: SpanKind.CONSUMER, links, attributes: attributesOf(of, topic) },
      parent,
      async (span) => {
        try {
          const result = await work();
          tellFailed(span, result);
          return result;
        } catch (error) {
          span.setAttribute('error.type', errorType(error)).setStatus({ code: SpanStatusCode.ERROR });
          throw error;
        } finally {
          span.end();
        }
      },
    );
}

interface Origins {
  readonly parent: Context;
  readonly links: Link[];
}

function originsOf(events: readonly OutboxEvent[]): Origins {
  const active = context.active();
  const around = trace.getSpanContext(active);
  const { first, links } = emittersOf(events);
  if (first === undefined) return { parent: active, links };
  // Work on a part of a batch that is of this trace already.
  if (around?.traceId === first.traceId) return { parent: active, links: [] };
  return {
    parent: emittedIn(first.event),
    links: around === undefined ? links : [{ context: around }, ...links],
  };
}

interface Emitters {
  /** Undefined: there are several traces, or events without one. */
  readonly first: { readonly event: OutboxEvent; readonly traceId: string } | undefined;
  /** To spans that emitted some of the events; but for the first, where it is the parent. */
  readonly links: Link[];
}

function emittersOf(events: readonly OutboxEvent[]): Emitters {
  /** By `traceparent`. */
  const links = new Map<string, Link>();
  let first:
    | { readonly event: OutboxEvent; readonly traceparent: string; readonly span: SpanContext }
    | undefined;
  let isOneTrace = true;
  let last: JsonValue | undefined;
  for (const event of events) {
    const { traceparent } = event.headers;
    // Those of a transaction mostly have it in common.
    if (traceparent !== undefined && traceparent === last) continue;
    last = traceparent;
    // Most are of producers that do not record, and once there are several traces nothing is done with those.
    if (!isOneTrace && first !== undefined && isUnsampled(traceparent)) continue;
    const span = typeof traceparent === 'string' ? spanNamedBy(traceparent) : undefined;
    if (span === undefined || typeof traceparent !== 'string') {
      isOneTrace = false;
      continue;
    }
    first ??= { event, traceparent, span };
    isOneTrace &&= span.traceId === first.span.traceId;
    // Nobody has recorded a span that was not sampled: a link to it leads nowhere.
    if (isSampled(span) && links.size < MOST_LINKS) links.set(traceparent, linkTo(span, event));
  }
  if (first === undefined) return { first, links: [] };
  const { event, span } = first;
  if (isOneTrace) {
    links.delete(first.traceparent);
    return { first: { event, traceId: span.traceId }, links: [...links.values()] };
  }
  // One link to a span that was not sampled tells the sampler that none was.
  return { first: undefined, links: links.size === 0 ? [linkTo(span, event)] : [...links.values()] };
}

function linkTo(span: SpanContext, { position }: OutboxEvent): Link {
  return { context: span, attributes: { 'messaging.message.id': String(position) } };
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}

function topicOf(events: readonly OutboxEvent[]): string | undefined {
  const topic = events[0]?.topic;
  return events.every((event) => event.topic === topic) ? topic : undefined;
}

function attributesOf({ group, events }: TracedWork, topic: string | undefined): Attributes {
  const first = events[0]?.position ?? 0;
  return {
    'messaging.system': 'pulsebox',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.consumer.group.name': group,
    ...(topic === undefined ? {} : { 'messaging.destination.name': topic }),
    ...(events.length === 1
      ? { 'messaging.message.id': String(first) }
      : {
          'messaging.batch.message_count': events.length,
          // Late events come before new ones: the first of a batch need not be the least.
          'pulsebox.position.first': events.reduce((least, { position }) => Math.min(least, position), first),
          'pulsebox.position.last': events.reduce((most, { position }) => Math.max(most, position), first),
        }),
  };
}

/** A handler that took a batch may have reported some of it. */
function tellFailed(span: Span, result: unknown): void {
  const failed: unknown = (result as { readonly failed?: unknown } | null | undefined)?.failed;
  if (Array.isArray(failed) && failed.length > 0) span.setAttribute('pulsebox.events.failed', failed.length);
}

function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

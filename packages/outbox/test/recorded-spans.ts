// An application that traces itself, as this package meets it: an SDK that is registered for the process.

import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

export interface RecordedSpans {
  /** Spans that have ended and are sampled. */
  readonly spans: () => readonly ReadableSpan[];
  end(): void;
}

export function recordSpans(): RecordedSpans {
  const exporter = new InMemorySpanExporter();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(
    new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }),
  );
  return {
    spans: () => exporter.getFinishedSpans(),
    end(): void {
      trace.disable();
      propagation.disable();
      context.disable();
    },
  };
}

/** Runs the work in a span of the application's. Result: what `traceparent` says of it. */
export async function inApplicationSpan(work: () => Promise<unknown>): Promise<string> {
  return await trace.getTracer('application').startActiveSpan('request', {}, ROOT_CONTEXT, async (span) => {
    await work();
    span.end();
    const { traceId, spanId } = span.spanContext();
    return `00-${traceId}-${spanId}-01`;
  });
}

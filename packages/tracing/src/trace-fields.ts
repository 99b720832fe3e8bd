// What a log line says of the span that it was written in.

import { trace } from '@opentelemetry/api';

/** `trace_id` and `span_id`, or nothing outside of a trace. For the `logFields` of a worker's command. */
export function traceFields(): Readonly<Record<string, string>> {
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? {} : { trace_id: active.traceId, span_id: active.spanId };
}

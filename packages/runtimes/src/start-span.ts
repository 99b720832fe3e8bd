// A span around what is done to start a runtime, a part of the trace of the event that asked for it.

import { propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Decision } from './decide.ts';
import type { RuntimeRow } from './runtime-row.ts';

const TRACER = '@pulsebox/runtimes';

/**
 * Without an SDK of OpenTelemetry it is just a call, and so is what is nobody's start: a runtime that is stopped hours
 * later is none of the matters of whoever started it.
 */
export async function inStartSpan<T>(
  row: RuntimeRow,
  decisions: readonly Decision[],
  work: () => Promise<T>,
): Promise<T> {
  if (row.trace === null || row.state !== 'starting' || decisions.every(({ act }) => act === 'wait')) {
    return await work();
  }
  if (propagation.fields().length === 0) return await work();
  const attributes = { 'pulsebox.decisions': decisions.map(({ act }) => act) };
  return await trace
    .getTracer(TRACER)
    .startActiveSpan(
      'start runtime',
      { kind: SpanKind.INTERNAL, attributes },
      propagation.extract(ROOT_CONTEXT, row.trace),
      async (span) => {
        try {
          return await work();
        } catch (error) {
          const { code } = error as { readonly code?: unknown };
          span
            .setAttribute('error.type', typeof code === 'string' ? code : '_OTHER')
            .setStatus({ code: SpanStatusCode.ERROR });
          throw error;
        } finally {
          span.end();
        }
      },
    );
}

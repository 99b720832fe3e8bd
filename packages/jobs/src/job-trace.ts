// How a trace goes through a job: kept beside its data, and continued by a span around each attempt. Of OpenTelemetry
// this package knows the API alone, which does nothing until the application registers an SDK.

import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Job } from './job.ts';
import type { JobOutcome } from './job-handler.ts';

/** `traceparent`, and what else the application's propagator writes. */
export type JobTrace = Readonly<Record<string, string>>;

/** In what pg-boss stores as the data of a job. No name that data of one's own would have. */
const KEY = 'pulsebox:trace';

const TRACER = '@pulsebox/jobs';

/** Undefined: there is no trace, or nobody carries it on. */
export function activeTrace(): JobTrace | undefined {
  if (propagation.fields().length === 0) return undefined;
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return Object.keys(headers).length === 0 ? undefined : headers;
}

export function withTrace<Data extends object>(data: Data, of: JobTrace | undefined): Data {
  return of === undefined ? data : { ...data, [KEY]: of };
}

export function splitTrace<Data extends object>(
  stored: Data,
): { readonly data: Data; readonly trace: JobTrace | undefined } {
  if (!Object.hasOwn(stored, KEY)) return { data: stored, trace: undefined };
  const { [KEY]: found, ...data } = stored as Data & { readonly [KEY]: JobTrace };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what `withTrace` was given, without what it added
  return { data: data as unknown as Data, trace: found };
}

/**
 * Runs an attempt in a span, a part of the trace that sent the job. Without an SDK it is just a call.
 *
 * @throws whatever `run` throws
 */
export async function inJobSpan(
  job: Job,
  run: () => Promise<JobOutcome | undefined | void>,
): Promise<JobOutcome | undefined | void> {
  if (propagation.fields().length === 0) return await run();
  const parent = job.trace === undefined ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, job.trace);
  const attributes = {
    'messaging.system': 'pulsebox',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': job.queue,
    'messaging.message.id': job.id,
    'pulsebox.attempt': job.attempt,
  };
  return await trace
    .getTracer(TRACER)
    .startActiveSpan(
      `process ${job.queue}`,
      { kind: SpanKind.CONSUMER, attributes },
      parent,
      async (span) => {
        const failed = (error: unknown): void => {
          span.setAttribute('error.type', errorType(error)).setStatus({ code: SpanStatusCode.ERROR });
        };
        try {
          const outcome = await run();
          if (outcome?.outcome === 'failed') failed(outcome.error);
          return outcome;
        } catch (error) {
          failed(error);
          throw error;
        } finally {
          span.end();
        }
      },
    );
}

function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

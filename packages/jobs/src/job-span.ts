// How an attempt of a job continues the trace that sent it: a span around what runs it.

import { propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Job } from './job.ts';
import type { JobOutcome } from './job-handler.ts';

const TRACER = '@pulsebox/jobs';

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

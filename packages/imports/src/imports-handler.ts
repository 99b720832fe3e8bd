// The handler of the group `imports`, and the queue that it feeds: an event asks for a run, and runs take hours.

import { defineQueue } from '@pulsebox/jobs';
import type { JobHandler, Jobs, JobToSend, Queue } from '@pulsebox/jobs';
import { traceOf } from '@pulsebox/outbox';
import type { Batch, BatchOutcome, EventFailure, Handler, JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { isJobId } from './import-job.ts';
import { IMPORT_REQUESTED } from './request-import.ts';
import { runImport } from './run-import.ts';
import type { ImportWorld } from './run-import.ts';

export interface ImportJobData {
  readonly jobId: string;
}

interface RequestedImport extends ImportJobData, Pick<JobToSend<ImportJobData>, 'trace'> {}

/**
 * What is to be done stands in the import's row; a job only says that somebody should look. `short`: while one of an
 * import runs another may wait, which looks at what has been asked meanwhile. How often is counted by the import itself.
 */
export const importsQueue: Queue<ImportJobData> = defineQueue<ImportJobData>('imports', {
  policy: 'short',
  attempts: 1_000,
  retryDelaySeconds: 1,
  retryDelayMaxSeconds: 60,
  timeoutSeconds: 86_400,
});

/** Events stand for themselves: run it with `order: 'none'`. */
export function importsHandler(jobs: Jobs): Handler {
  return async ({ events }: Batch): Promise<BatchOutcome> => {
    const failed: EventFailure[] = [];
    const asked = new Map<string, RequestedImport>();
    for (const event of events) {
      const { topic, payload, position } = event;
      if (topic !== IMPORT_REQUESTED) continue;
      const jobId = jobIdOf(payload);
      if (jobId === undefined)
        failed.push({
          position,
          reason: `expected the payload of ${IMPORT_REQUESTED} to have a job_id that is a UUID (IMPORTS_REQUEST_INVALID)`,
          retryable: false,
        });
      else asked.set(jobId, { jobId, ...tracedAs(event) });
    }
    await sendImports(jobs, [...asked.values()]);
    return { failed };
  };
}

/** The run is a part of the trace that asked for it, whatever else is in the batch. */
function tracedAs(event: OutboxEvent): Pick<RequestedImport, 'trace'> {
  const trace = traceOf(event);
  return trace === undefined ? {} : { trace };
}

/** One that waits already is enough. */
export async function sendImports(jobs: Jobs, requested: readonly RequestedImport[]): Promise<void> {
  if (requested.length === 0) return;
  await jobs.ensureQueue(importsQueue);
  await jobs.sendAll(
    importsQueue,
    requested.map(({ jobId, ...trace }) => ({ data: { jobId }, key: jobId, ...trace })),
  );
}

export function runHandler(world: ImportWorld): JobHandler<ImportJobData> {
  return async (job, { signal, stopping, progress, log }) => {
    const outcome = await runImport({
      ...world,
      jobId: job.data.jobId,
      runner: job.id,
      signal,
      stopping,
      progress: () => {
        progress();
      },
      log,
    });
    return outcome === 'handed_over'
      ? { outcome: 'unfinished' }
      : { outcome: 'completed', output: { outcome } };
  };
}

function jobIdOf(payload: JsonValue): string | undefined {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return undefined;
  const jobId = (payload as Readonly<Record<string, JsonValue | undefined>>)['job_id'];
  return isJobId(jobId) ? jobId.toLowerCase() : undefined;
}

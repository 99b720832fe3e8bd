// One import, run by the loop that a worker runs it with; and how the event loop did meanwhile.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createImports, IMPORT_REQUESTED, readImport } from '@pulsebox/imports';
import type { ImportCounts } from '@pulsebox/imports';
import { openJobs } from '@pulsebox/jobs';
import { createLogger } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';

export interface ImportFileInput {
  readonly url: string;
  readonly directory: string;
  readonly jobId: string;
}

export interface ImportFileOutput {
  /** From the row's `started_at` to its `ended_at`. */
  readonly elapsedMs: number;
  readonly counts: ImportCounts;
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Resident, before the first row and at the most after that, in MiB; sampled every 50 ms. */
  readonly rssMiB: { readonly before: number; readonly peak: number };
}

const SAMPLE_MS = 50;

export default async function importFile({
  url,
  directory,
  jobId,
}: ImportFileInput): Promise<ImportFileOutput> {
  const log = createLogger({ worker: 'bench', level: 'silent' });
  const pool = createPool({ connection: { connectionString: url }, onIdleError: () => undefined });
  const jobs = openJobs({ pool, log });
  const imports = createImports({ pool, jobs, directory });
  const { signal } = new AbortController();
  const asked = { position: 1, topic: IMPORT_REQUESTED, key: null, payload: { job_id: jobId }, headers: {} };
  await imports.handler(
    { group: 'imports', lane: 0, events: [{ ...asked, createdAt: new Date() }] },
    { signal, fencingToken: 1, progress: () => undefined, log },
  );
  const [runner] = imports.loops;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, SAMPLE_MS);
  delay.enable();
  await runner?.tick({ signal, stopping: signal, progress: () => undefined, log });
  delay.disable();
  clearInterval(sampling);
  const status = await readImport(pool, jobId);
  await jobs.stop();
  await pool.end();
  if (status?.state !== 'completed' || status.startedAt === null || status.endedAt === null)
    throw new Error(`the import ended as ${status?.state}: ${status?.reason}`);
  return {
    elapsedMs: status.endedAt.getTime() - status.startedAt.getTime(),
    counts: status.counts,
    delayMs: { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
    rssMiB: { before: before / 2 ** 20, peak: peak / 2 ** 20 },
  };
}

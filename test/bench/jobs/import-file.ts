// One import, run by the loop that a worker runs it with; and how the event loop did meanwhile.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createImports, IMPORT_REQUESTED, readImport } from '@pulsebox/imports';
import type { ImportCounts } from '@pulsebox/imports';
import { openJobs } from '@pulsebox/jobs';
import { createLogger } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';

export interface ImportFileInput {
  readonly url: string;
  readonly directory: string;
  readonly jobId: string;
  /** Collect garbage at each sample, and take what is left: for memory, since it takes time. */
  readonly collect?: boolean;
}

export interface ImportFileOutput {
  /** From the row's `started_at` to its `ended_at`. */
  readonly elapsedMs: number;
  readonly counts: ImportCounts;
  /** Of the event loop: for a second before the import, and while it ran. */
  readonly idleDelayMs: Delay;
  readonly delayMs: Delay;
  /** Resident, before the first row and at the most after that, in MiB; sampled every 50 ms. */
  readonly rssMiB: { readonly before: number; readonly peak: number };
  /** What is in use after a collection, on the heap and beside it, at the most, in MiB; 0 unless it was asked for. */
  readonly retainedMiB: number;
}

export interface Delay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const SAMPLE_MS = 50;
const COLLECT_MS = 250;

export default async function importFile({
  url,
  directory,
  jobId,
  collect = false,
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
  const idleDelayMs = await delayDuring(() => sleep(1_000));
  const before = process.memoryUsage.rss();
  let peak = before;
  let retained = 0;
  const collectGarbage = collect ? garbageCollector() : undefined;
  const sampling = setInterval(
    () => {
      peak = Math.max(peak, process.memoryUsage.rss());
      if (collectGarbage === undefined) return;
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      retained = Math.max(retained, heapUsed + external);
    },
    collect ? COLLECT_MS : SAMPLE_MS,
  );
  const delayMs = await delayDuring(async () => {
    await runner?.tick({ signal, stopping: signal, progress: () => undefined, log });
  });
  clearInterval(sampling);
  const status = await readImport(pool, jobId);
  await jobs.stop();
  await pool.end();
  if (status?.state !== 'completed' || status.startedAt === null || status.endedAt === null)
    throw new Error(`the import ended as ${status?.state}: ${status?.reason}`);
  return {
    elapsedMs: status.endedAt.getTime() - status.startedAt.getTime(),
    counts: status.counts,
    idleDelayMs,
    delayMs,
    rssMiB: { before: before / 2 ** 20, peak: peak / 2 ** 20 },
    retainedMiB: retained / 2 ** 20,
  };
}

async function delayDuring(work: () => Promise<void>): Promise<Delay> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

// A sample now and then, until the run is over.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadNow } from '../harness/machine.ts';
import { sampleDatabase } from './database-sample.ts';
import { lookForMissing } from './losses.ts';
import type { Sample } from './report.ts';
import type { Run } from './run.ts';
import { latencies } from './witnesses.ts';
import { sampleWorker } from './worker-sample.ts';
import { apps, linesOf } from './worker-process.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface Sampled {
  readonly samples: readonly Sample[];
  /** Answers of /health other than 200. */
  readonly unwell: number;
  /** Why samples could not be taken. */
  readonly failures: readonly string[];
}

/** Until the time of the plan is over, or the signal says so. */
export async function sampleUntilOver(run: Run): Promise<Sampled> {
  const { plan, context, site, workers } = run;
  const startedAtMs = performance.now();
  const samples: Sample[] = [];
  const failures: string[] = [];
  // How late this process is, too: it tells a worker that is slow from a machine that is.
  const ownDelay = monitorEventLoopDelay();
  ownDelay.enable();
  let unwell = 0;
  let before: Sample | undefined;
  for (let n = 1; ; n += 1) {
    const dueAtMs = startedAtMs + n * plan.sampleEveryMs;
    await sleep(Math.max(0, dueAtMs - performance.now()), undefined, { signal: context.signal }).catch(
      () => undefined,
    );
    if (context.signal.aborted || performance.now() - startedAtMs > plan.durationMs) break;
    const ofWorkers = await Promise.all(workers.map(sampleWorker));
    unwell += ofWorkers.filter(({ health }) => health !== 200).length;
    try {
      const atMs = performance.now() - startedAtMs;
      const counted = Object.assign({}, ...ofWorkers.map(({ values }) => values)) as Record<string, number>;
      const values = {
        ...counted,
        ...cpuUse(before, { atMs, values: counted }),
        ...(await sampleDatabase(site.database.pool)),
        ...latencies(run.witnesses),
        ...levels(workers),
        'load of the machine': loadNow(),
        'event loop soak p99': ownDelay.percentile(99) / 1e6,
      };
      await lookForMissing(site.database.pool, run.witnesses.log);
      before = { atMs, values };
      samples.push(before);
    } catch (error) {
      failures.push(String(error));
    }
    ownDelay.reset();
    site.forget();
    await context.onSample(samples);
  }
  ownDelay.disable();
  return { samples, unwell, failures };
}

/** Lines above info so far: when they came. */
function levels(workers: readonly WorkerProcess[]): Record<string, number> {
  const { warn = 0, error = 0, fatal = 0, other = 0 } = linesOf(workers);
  return { 'lines of level warn': warn, 'lines of level error': error + fatal + other };
}

/** Per cent of a core since the last sample. */
function cpuUse(before: Sample | undefined, now: Sample): Record<string, number> {
  return Object.fromEntries(
    apps.flatMap((app) => {
      const name = `CPU seconds ${app}`;
      const [from, to] = [before?.values[name], now.values[name]];
      if (before === undefined || from === undefined || to === undefined) return [];
      return [[`CPU ${app}`, ((to - from) / (now.atMs - before.atMs)) * 100_000]];
    }),
  );
}

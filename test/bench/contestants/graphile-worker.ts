// graphile-worker for throughput: the preset of its authors' own benchmark, in one process.

import { run, runOnce } from 'graphile-worker';
import type { Contestant } from '../harness/contestant.ts';
import type { BenchPayload } from '../harness/payload.ts';
import { addJob, fillGraphile, installGraphile, quiet, TASK } from './graphile-task.ts';

const CONCURRENCY = 24;
/** Tried with 1,000 and 2,000 too: slower. */
const LOCAL_QUEUE = 500;

const preset: GraphileConfig.Preset = {
  worker: {
    concurrentJobs: CONCURRENCY,
    maxPoolSize: CONCURRENCY + 1,
    localQueue: { size: LOCAL_QUEUE, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

export const contestant: Contestant = {
  name: 'graphile-worker',
  label: 'graphile-worker',
  role: 'peer',
  setting: '0.18: its own benchmark’s preset (24 jobs at once, local queue of 500, batched completion)',
  keepsEvents: false,
  install: ({ url }) => installGraphile(url),
  drain: {
    load: ({ url }, events) => fillGraphile(url, events),
    async consume({ url }, events, clock): Promise<void> {
      let handled = 0;
      const task = (): void => {
        handled += 1;
      };
      clock.start();
      // Returns when nothing is left and the last completions are stored.
      await runOnce({ connectionString: url, preset, logger: quiet, taskList: { [TASK]: task } });
      clock.stop();
      if (handled !== events) throw new Error(`expected ${events} jobs, got ${handled}`);
    },
  },
  latency: {
    emit: addJob,
    consume: ({ url }, handled) => consumeGraphile(url, preset, handled),
  },
};

export async function consumeGraphile(
  url: string,
  preset: GraphileConfig.Preset,
  handled: (id: number) => void,
): Promise<() => Promise<void>> {
  const runner = await run({
    connectionString: url,
    preset,
    logger: quiet,
    noHandleSignals: true,
    taskList: { [TASK]: (received) => handled((received as BenchPayload).id) },
  });
  return () => runner.stop();
}

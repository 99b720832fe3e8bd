// graphile-worker for latency: every worker fetches for itself, since a local queue trades latency for throughput.

import type { Contestant } from '../harness/contestant.ts';
import { addJob, installGraphile } from './graphile-task.ts';
import { consumeGraphile } from './graphile-worker.ts';

const CONCURRENCY = 24;

const preset: GraphileConfig.Preset = {
  worker: { concurrentJobs: CONCURRENCY, maxPoolSize: CONCURRENCY + 1 },
};

export const contestant: Contestant = {
  name: 'graphile-worker-direct',
  label: 'graphile-worker, no local queue',
  role: 'peer',
  setting: '0.18: 24 jobs at once, no local queue, all else its default',
  keepsEvents: false,
  install: ({ url }) => installGraphile(url),
  latency: {
    emit: addJob,
    consume: ({ url }, handled) => consumeGraphile(url, preset, handled),
  },
};

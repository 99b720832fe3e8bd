// Pulsebox: a real worker whose handler does nothing.

import { emit } from '@pulsebox/outbox';
import type { Handler } from '@pulsebox/outbox';
import { drainWithWorker, runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';
import type { Contestant } from '../harness/contestant.ts';
import type { BenchPayload } from '../harness/payload.ts';
import { payload } from '../harness/payload.ts';
import { fillLog, installLog } from './event-log.ts';

const BATCH_SIZE = 1_000;

const doNothing: Handler = async () => undefined;

export const contestant: Contestant = {
  name: 'pulsebox',
  label: 'Pulsebox',
  role: 'pulsebox',
  setting:
    'a worker as deployed, with sidecar, metrics, jobs and housekeeping; batches of 1,000, the cursor stored after each',
  keepsEvents: true,
  install: ({ url }) => installLog(url),
  drain: {
    load: ({ url }, events) => fillLog(url, events),
    consume: ({ url, run }, events, clock) =>
      drainWithWorker({ url, group: run, batchSize: BATCH_SIZE, handler: () => doNothing }, events, clock),
  },
  latency: {
    async emit(client, id): Promise<void> {
      await emit(client, { topic: 'bench.event', key: `key:${id % 1_000}`, payload: { ...payload(id) } });
    },
    async consume({ url, run }, handled): Promise<() => Promise<void>> {
      const looked = Promise.withResolvers<void>();
      const handler: Handler = async ({ events }) => {
        for (const { payload: received } of events) handled((received as unknown as BenchPayload).id);
      };
      const ended = runBenchWorker({
        url,
        group: run,
        batchSize: BATCH_SIZE,
        handler: () => handler,
        onTick: () => looked.resolve(),
      });
      await looked.promise;
      return async () => {
        stopThisWorker();
        await ended;
      };
    },
  },
};

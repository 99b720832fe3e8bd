// The push worker as it is deployed: from events in the log to deliveries that are recorded.

import { openJobs } from '@pulsebox/jobs';
import type { Loop } from '@pulsebox/loop';
import { createPush } from '@pulsebox/push';
import type { Push, Vapid } from '@pulsebox/push';
import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { runBenchWorker, stopThisWorker } from '../harness/bench-worker.ts';

export interface PushWorkerInput {
  readonly url: string;
  readonly origin: string;
  readonly ca: string;
  readonly vapid: Vapid;
  /** How many events ask for them. A broadcast is one, whose deliveries come after it. */
  readonly events: number;
  readonly deliveries: number;
}

export interface PushWorkerOutput {
  /** From the first look into the log until all deliveries were recorded. */
  readonly elapsedMs: number;
  /** Of this process meanwhile. */
  readonly cpuSeconds: number;
  /** Resident memory in MiB: when the first delivery is about to be sent, and the most after that. */
  readonly rssMiB: { readonly before: number; readonly peak: number };
}

/** Result: how many deliveries were recorded. */
const RECORDED = `select count(*)::integer as n from push.delivery where outcome = 'sent'`;

/** Once all events are handled. Counting a hundred thousand records is work, too. */
const LOOK_EVERY_MS = 500;
const SAMPLE_EVERY_MS = 50;

export default async function pushWorker(input: PushWorkerInput): Promise<PushWorkerOutput> {
  const { url, origin, ca, vapid, events, deliveries } = input;
  const allHandled = Promise.withResolvers<void>();
  let handled = 0;
  let push: Push | undefined;
  let closeJobs = async (): Promise<void> => undefined;
  let startedAtMs = 0;
  let cpuAtStart = process.cpuUsage();
  let before = 0;
  let peak = 0;
  const sample = (): void => {
    peak = Math.max(peak, process.memoryUsage.rss() / 2 ** 20);
  };
  const sampling = setInterval(sample, SAMPLE_EVERY_MS);

  const worker = runBenchWorker({
    url,
    group: 'push',
    // The default of PUSH_BATCH_SIZE.
    batchSize: 1_000,
    order: 'none',
    handler({ pool, registry, log }) {
      const jobs = openJobs({ pool, log });
      closeJobs = async () => jobs.stop();
      push = createPush({ pool, jobs, registry, vapid, ca, privateOrigins: [origin] });
      return push.handler;
    },
    furtherLoops: (): readonly Loop[] => push?.loops ?? [],
    onFirstTick(): void {
      before = process.memoryUsage.rss() / 2 ** 20;
      peak = before;
      cpuAtStart = process.cpuUsage();
      startedAtMs = performance.now();
    },
    onTick(more): void {
      handled += more;
      if (handled >= events) allHandled.resolve();
    },
    async close(): Promise<void> {
      await closeJobs();
      await push?.close();
    },
  });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  // Before that nobody counts: it would be work for the database that is measured.
  await allHandled.promise;
  while ((await client.query<{ n: number }>(RECORDED)).rows[0]?.n !== deliveries) await sleep(LOOK_EVERY_MS);
  const elapsedMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpuAtStart);
  clearInterval(sampling);
  await client.end();
  stopThisWorker();
  await worker;
  return { elapsedMs, cpuSeconds: (user + system) / 1e6, rssMiB: { before, peak } };
}

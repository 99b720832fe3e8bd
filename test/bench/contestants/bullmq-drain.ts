// BullMQ is the same on both of its databases but for the connection.

import { Queue, Worker } from 'bullmq';
import type { BackendFactory, ConnectionOptions, IQueueBackend } from 'bullmq';
import type { Clock } from '../harness/contestant.ts';
import { payload } from '../harness/payload.ts';

const QUEUE = 'bench';

/** A worker completes one job and takes the next in one call; this many calls are under way at once. */
export const CONCURRENCY = 100;

/** `backend` undefined: Redis. */
export interface BullmqStore<Connection> {
  readonly connection: Connection;
  readonly backend?: BackendFactory<IQueueBackend, Connection>;
}

const keepNothing = { removeOnComplete: true, removeOnFail: true };

export async function fillBullmq(store: BullmqStore<unknown>, events: number): Promise<void> {
  const queue = new Queue(
    QUEUE,
    { connection: store.connection as ConnectionOptions },
    store.backend as undefined,
  );
  for (let first = 0; first < events; first += 1_000) {
    const size = Math.min(1_000, events - first);
    await queue.addBulk(
      Array.from({ length: size }, (_, n) => ({
        name: 'bench',
        data: payload(first + n),
        opts: keepNothing,
      })),
    );
  }
  await queue.close();
}

export async function drainBullmq(store: BullmqStore<unknown>, events: number, clock: Clock): Promise<void> {
  let completed = 0;
  const done = Promise.withResolvers<void>();
  const worker = new Worker(
    QUEUE,
    async () => undefined,
    {
      connection: store.connection as ConnectionOptions,
      concurrency: CONCURRENCY,
      autorun: false,
      ...keepNothing,
    } as never,
    store.backend as undefined,
  );
  worker.on('error', (error) => done.reject(error));
  worker.on('completed', () => {
    completed += 1;
    clock.progress(completed);
    if (completed === events) done.resolve();
  });
  await worker.waitUntilReady();
  clock.start();
  void worker.run();
  await done.promise;
  clock.stop();
  await worker.close(true);
}

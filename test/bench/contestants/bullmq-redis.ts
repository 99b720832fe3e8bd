// BullMQ on a Redis that keeps nothing on disk: as fast as it can be, and nothing survives a crash.

import type { Contestant } from '../harness/contestant.ts';
import { CONCURRENCY, drainBullmq, fillBullmq } from './bullmq-drain.ts';

export const contestant: Contestant = {
  name: 'bullmq-redis',
  label: 'BullMQ 6 on Redis, not persisted',
  role: 'peer',
  setting: `6.7 on Redis without persistence: ${CONCURRENCY} jobs at once, completed jobs removed`,
  keepsEvents: false,
  needsRedis: true,
  install: () => Promise.resolve(),
  drain: {
    load: ({ url }, events) => fillBullmq({ connection: connection(url) }, events),
    consume: ({ url }, events, clock) => drainBullmq({ connection: connection(url) }, events, clock),
  },
};

function connection(url: string): object {
  const { hostname, port } = new URL(url);
  // null is what BullMQ asks of a worker's connection.
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null };
}

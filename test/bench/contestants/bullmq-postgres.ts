// BullMQ on PostgreSQL, new in version 6: the same server and the same durability as all others.

import { createPostgresBackend } from 'bullmq';
import type { Contestant } from '../harness/contestant.ts';
import { CONCURRENCY, drainBullmq, fillBullmq } from './bullmq-drain.ts';
import type { BullmqStore } from './bullmq-drain.ts';

export const contestant: Contestant = {
  name: 'bullmq-postgres',
  label: 'BullMQ 6 on PostgreSQL',
  role: 'peer',
  setting: `6.7 on PostgreSQL: ${CONCURRENCY} jobs at once over 10 connections, completed jobs removed`,
  keepsEvents: false,
  install: () => Promise.resolve(),
  drain: {
    // About a thousand jobs a second: a fiftieth of the events takes long enough.
    fewer: 50,
    load: ({ url }, events) => fillBullmq(store(url), events),
    consume: ({ url }, events, clock) => drainBullmq(store(url), events, clock),
  },
};

function store(url: string): BullmqStore<unknown> {
  return {
    connection: { connectionString: url, max: 10, migrate: true },
    backend: createPostgresBackend as never,
  };
}

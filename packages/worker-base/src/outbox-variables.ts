// How a worker reads the log, as environment variables, and the flags that win over them.

import { env } from '@pulsebox/loop';
import type { Environment, ValueFlag, Variable } from '@pulsebox/loop';

export const outboxVariables: {
  readonly OUTBOX_WORKER_POLL_SECONDS: Variable<number>;
  readonly OUTBOX_WORKER_LISTEN_NOTIFY: Variable<boolean>;
  readonly OUTBOX_WORKER_NOTIFY_FALLBACK_SECONDS: Variable<number>;
  readonly OUTBOX_WORKER_BATCH_SIZE: Variable<number>;
  readonly OUTBOX_LEASE_SECONDS: Variable<number>;
  readonly OUTBOX_BATCH_DEADLINE_SECONDS: Variable<number>;
  readonly OUTBOX_MAX_ATTEMPTS: Variable<number>;
  readonly OUTBOX_KEEP_HOURS: Variable<number>;
  readonly OUTBOX_RETENTION_HOURS: Variable<number>;
  readonly OUTBOX_PARTITION_EVENTS: Variable<number>;
} = {
  OUTBOX_WORKER_POLL_SECONDS: env.seconds({
    description: 'The longest an idle reader rests while nothing can notify it (--interval).',
    default: 1,
  }),
  OUTBOX_WORKER_LISTEN_NOTIFY: env.boolean({
    description: 'Have producers wake sleeping readers with NOTIFY (--listen-notify).',
    default: true,
  }),
  OUTBOX_WORKER_NOTIFY_FALLBACK_SECONDS: env.seconds({
    description: 'The longest an idle reader rests while producers notify it (--idle-wait).',
    default: 5,
  }),
  OUTBOX_WORKER_BATCH_SIZE: env.integer({
    description: 'The most events that a handler gets at once (--batch-size).',
    default: 500,
    min: 1,
    max: 100_000,
  }),
  OUTBOX_LEASE_SECONDS: env.seconds({
    description: 'How long the lanes of a worker that died wait for another. Renewed every third of it.',
    default: 15,
  }),
  OUTBOX_BATCH_DEADLINE_SECONDS: env.seconds({
    description: 'The longest a batch may take before it is aborted and tried again.',
    default: 900,
  }),
  OUTBOX_MAX_ATTEMPTS: env.integer({
    description: 'How often a failed event is tried until it is a dead letter, the first delivery included.',
    default: 5,
    min: 1,
    max: 1_000,
  }),
  OUTBOX_KEEP_HOURS: env.integer({
    description: 'How long events are kept at least, for new groups and `pulsebox groups seek`.',
    default: 24,
    min: 0,
    max: 87_600,
  }),
  OUTBOX_RETENTION_HOURS: env.integer({
    description: 'The age of an undelivered event at which its group is reported to hold the log back.',
    default: 72,
    min: 1,
    max: 87_600,
  }),
  OUTBOX_PARTITION_EVENTS: env.integer({
    description:
      'How many events a new partition of the log has room for; the log is dropped a partition at a time.',
    default: 10_000_000,
    min: 1_000,
    max: 1_000_000_000,
  }),
};

export type OutboxConfig = Environment<typeof outboxVariables>;

export const outboxFlags: Readonly<Record<ValueFlag, keyof typeof outboxVariables>> = {
  'batch-size': 'OUTBOX_WORKER_BATCH_SIZE',
  interval: 'OUTBOX_WORKER_POLL_SECONDS',
  'idle-wait': 'OUTBOX_WORKER_NOTIFY_FALLBACK_SECONDS',
  'listen-notify': 'OUTBOX_WORKER_LISTEN_NOTIFY',
};

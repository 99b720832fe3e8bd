// What `push-worker` is: the consumer group that turns events into notifications, and the queues beside it.

import { readFileSync } from 'node:fs';
import { appMigrations } from '@pulsebox/app-schema';
import { jobsMigrations } from '@pulsebox/jobs';
import type { Loop, WorkerCommand } from '@pulsebox/loop';
import { outboxMigrations } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import { createPush, PUSH_GROUP, pushMigrations } from '@pulsebox/push';
import type { Push } from '@pulsebox/push';
import { traceFields } from '@pulsebox/tracing';
import {
  checkDatabase,
  checkTracing,
  databaseVariables,
  openLog,
  openTracing,
  outboxVariables,
  tracingVariables,
} from '@pulsebox/worker-base';
import { checkPush, originsOf, pushVariables, vapidOf } from './push-variables.ts';

const {
  OUTBOX_WORKER_POLL_SECONDS: _ofTheWorker,
  OUTBOX_WORKER_BATCH_SIZE: _ofItsHandlers,
  ...others
} = outboxVariables;
const logVariables: Omit<typeof outboxVariables, 'OUTBOX_WORKER_POLL_SECONDS' | 'OUTBOX_WORKER_BATCH_SIZE'> =
  others;

type Variables = typeof databaseVariables &
  typeof logVariables &
  typeof pushVariables &
  typeof tracingVariables;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const pushWorkerCommand: WorkerCommand<Variables> = {
  name: 'push-worker',
  description: 'Delivers push notifications to the browsers of users.',
  version,
  healthPort: { variable: 'PUSH_WORKER_HEALTH_PORT', default: 9091 },
  environment: { ...databaseVariables, ...logVariables, ...pushVariables, ...tracingVariables },
  flagVariables: {
    'batch-size': 'PUSH_BATCH_SIZE',
    interval: 'PUSH_WORKER_POLL_SECONDS',
    'idle-wait': 'OUTBOX_WORKER_NOTIFY_FALLBACK_SECONDS',
    'listen-notify': 'OUTBOX_WORKER_LISTEN_NOTIFY',
  },
  check: (config) => [...checkDatabase(config), ...checkPush(config), ...checkTracing(config)],
  logFields: traceFields,
  async compose({ config, flags, log, registry }) {
    // Endpoints of push come from strangers: no request of this worker carries a trace to them.
    const tracing = await openTracing({
      config,
      log,
      registry,
      worker: 'push-worker',
      version,
      requests: false,
    });
    const outbox = openLog({
      context: {
        config: {
          ...config,
          OUTBOX_WORKER_POLL_SECONDS: config.PUSH_WORKER_POLL_SECONDS,
          OUTBOX_WORKER_BATCH_SIZE: config.PUSH_BATCH_SIZE,
        },
        log,
        registry,
      },
      applicationName: 'pulsebox-push-worker',
      once: !flags.loop,
      migrations: [postgresMigrations, jobsMigrations, outboxMigrations, appMigrations, pushMigrations],
    });
    const vapid = vapidOf(config);
    if (vapid === undefined) {
      log.info(
        'push is off: VAPID_PUBLIC_KEY and VAPID_PRIVATE_KEY are not set; `pulsebox vapid` makes them',
      );
      return {
        loops: [outbox.housekeeping],
        close: async () => void (await Promise.all([tracing?.close(), outbox.close()])),
      };
    }
    const push = createPush({
      pool: outbox.pool,
      jobs: outbox.jobs,
      registry,
      log,
      vapid,
      concurrency: config.PUSH_CONCURRENCY,
      timeoutMs: config.PUSH_TIMEOUT_SECONDS * 1_000,
      defaultTtlSeconds: config.PUSH_TTL_SECONDS,
      pollMs: Math.max(1, Math.round(config.PUSH_WORKER_POLL_SECONDS * 1_000)),
      allowedOrigins: originsOf(config.PUSH_ALLOWED_ORIGINS),
      privateOrigins: originsOf(config.PUSH_PRIVATE_ORIGINS),
    });
    log.info({ subject: vapid.subject }, 'push');
    // Events stand for themselves: one that a service refuses holds nothing back.
    const reader = outbox.consume({ group: PUSH_GROUP, handler: push.handler, order: 'none' });
    return {
      loops: [
        withChecks(reader, push),
        ...push.loops.map((loop) => outbox.whenMigrated(loop)),
        outbox.housekeeping,
      ],
      async close(): Promise<void> {
        await outbox.jobs.stop();
        await push.close();
        await Promise.all([tracing?.close(), outbox.close()]);
      },
    };
  },
};

function withChecks(reader: Loop, push: Push): Loop {
  return { ...reader, checks: () => ({ ...reader.checks?.(), ...push.checks() }) };
}

// What `watch-worker` is: the pull of Gmail's notifications, and what mailboxes need by the clock.

import { readFileSync } from 'node:fs';
import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations, recordNotifications } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import { parseEnvironment } from '@pulsebox/loop';
import type { WorkerCommand } from '@pulsebox/loop';
import { outboxMigrations } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import { loadProtocol, mailNotifications, pubsubMigrations, pullLoop, pullMetrics } from '@pulsebox/pubsub';
import { traceFields } from '@pulsebox/tracing';
import {
  checkDatabase,
  checkMail,
  checkMailUpkeep,
  checkTracing,
  databaseVariables,
  mailUpkeepVariables,
  mailVariables,
  openLog,
  openTracing,
  outboxVariables,
  tracingVariables,
} from '@pulsebox/worker-base';
import { mailLoops } from './mail-loops.ts';
import { checkPubSub, pubsubVariables, subscriptionOf } from './pubsub-variables.ts';

/** It reads no group of the log, and keeps house for all of them. */
const { OUTBOX_KEEP_HOURS, OUTBOX_RETENTION_HOURS, OUTBOX_PARTITION_EVENTS, ...ofReaders } = outboxVariables;
const houseVariables: Pick<
  typeof outboxVariables,
  'OUTBOX_KEEP_HOURS' | 'OUTBOX_RETENTION_HOURS' | 'OUTBOX_PARTITION_EVENTS'
> = { OUTBOX_KEEP_HOURS, OUTBOX_RETENTION_HOURS, OUTBOX_PARTITION_EVENTS };

type Variables = typeof databaseVariables &
  typeof houseVariables &
  typeof pubsubVariables &
  typeof mailVariables &
  typeof mailUpkeepVariables &
  typeof tracingVariables;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Every statement here is a short one. One that has no answer by then fails its tick, long before a loop would be stuck. */
const QUERY_TIMEOUT_MS = 10_000;

export const watchWorkerCommand: WorkerCommand<Variables> = {
  name: 'watch-worker',
  description: "Pulls Gmail's change notifications from Google Pub/Sub, and keeps mailboxes watched.",
  version,
  healthPort: { variable: 'WATCH_WORKER_HEALTH_PORT', default: 9092 },
  environment: {
    ...databaseVariables,
    ...houseVariables,
    ...pubsubVariables,
    ...mailVariables,
    ...mailUpkeepVariables,
    ...tracingVariables,
  },
  flagVariables: { 'batch-size': 'GMAIL_PUBSUB_BATCH_SIZE' },
  check: (config) => [
    ...checkDatabase(config),
    ...checkPubSub(config),
    ...checkMail(config),
    ...checkMailUpkeep(config),
    ...checkTracing(config),
  ],
  logFields: traceFields,
  async compose({ config, log, registry }) {
    // It asks Google alone.
    const tracing = await openTracing({
      config,
      log,
      registry,
      worker: 'watch-worker',
      version,
      requests: true,
    });
    const outbox = openLog({
      context: {
        config: { ...parseEnvironment(ofReaders, {}), ...config, OUTBOX_WORKER_LISTEN_NOTIFY: false },
        log,
        registry,
      },
      applicationName: 'pulsebox-watch-worker',
      migrations: [
        postgresMigrations,
        jobsMigrations,
        outboxMigrations,
        appMigrations,
        gmailMigrations,
        pubsubMigrations,
      ],
      queryTimeoutMs: QUERY_TIMEOUT_MS,
    });
    const mail = mailLoops({ config, pool: outbox.pool, registry, holder: outbox.holder, log });
    const others = [...mail.loops.map((loop) => outbox.whenMigrated(loop)), outbox.housekeeping];
    const close = async (): Promise<void> => {
      await mail.close();
      await Promise.all([tracing?.close(), outbox.close()]);
    };
    const found = subscriptionOf(config);
    if (found === undefined) {
      log.info(
        'mail notifications are off: GMAIL_PUBSUB_PROJECT_ID and GMAIL_PUBSUB_SUBSCRIPTION are not set',
      );
      return { loops: others, close };
    }
    const { connection, subscription } = found;
    await loadProtocol();
    const metrics = pullMetrics(registry);
    const pull = pullLoop({
      connection,
      subscription,
      handler: mailNotifications({ pool: outbox.pool, subscription, record: recordNotifications, metrics }),
      batchSize: config.GMAIL_PUBSUB_BATCH_SIZE,
      metrics,
    });
    log.info(
      { project: connection.projectId, subscription, emulator: connection.emulatorHost },
      'mail notifications',
    );
    return { loops: [outbox.whenMigrated(pull), ...others], close };
  },
};

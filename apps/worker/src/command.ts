// What `worker` is: the consumer groups it reads, and what each hands its events to.

import { readFileSync } from 'node:fs';
import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import type { WorkerCommand } from '@pulsebox/loop';
import { outboxMigrations } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import { loadProtocol, pubsubMigrations } from '@pulsebox/pubsub';
import { searchMigrations } from '@pulsebox/search';
import { traceFields } from '@pulsebox/tracing';
import {
  checkDatabase,
  checkImports,
  checkMail,
  checkRuntimes,
  checkTracing,
  databaseVariables,
  importVariables,
  mailVariables,
  openLog,
  openMail,
  openSearch,
  openTracing,
  outboxFlags,
  outboxVariables,
  runtimeVariables,
  searchVariables,
  tracingVariables,
  upkeepVariables,
} from '@pulsebox/worker-base';
import { bridgeVariables, checkBridge, openBridge } from './bridge-variables.ts';
import { importLoops } from './import-loops.ts';
import { runtimeLoops } from './runtime-loops.ts';
import { upkeepLoops } from './upkeep-loops.ts';

type Variables = typeof databaseVariables &
  typeof outboxVariables &
  typeof searchVariables &
  typeof mailVariables &
  typeof bridgeVariables &
  typeof importVariables &
  typeof runtimeVariables &
  typeof tracingVariables &
  typeof upkeepVariables;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const workerCommand: WorkerCommand<Variables> = {
  name: 'worker',
  description: 'Delivers the outbox: search indexing, imports, mailbox sync, the bridge to Pub/Sub.',
  version,
  healthPort: { variable: 'WORKER_HEALTH_PORT', default: 9090 },
  environment: {
    ...databaseVariables,
    ...outboxVariables,
    ...searchVariables,
    ...mailVariables,
    ...bridgeVariables,
    ...importVariables,
    ...runtimeVariables,
    ...tracingVariables,
    ...upkeepVariables,
  },
  flagVariables: outboxFlags,
  check: (config) => [
    ...checkDatabase(config),
    ...checkMail(config),
    ...checkBridge(config),
    ...checkImports(config),
    ...checkRuntimes(config),
    ...checkTracing(config),
  ],
  logFields: traceFields,
  async compose({ config, flags, log, registry }) {
    // It asks Meilisearch, Google and Kubernetes: hosts that its operator has named.
    const tracing = await openTracing({ config, log, registry, worker: 'worker', version, requests: true });
    const outbox = openLog({
      context: { config, log, registry },
      applicationName: 'pulsebox-worker',
      once: !flags.loop,
      migrations: [
        postgresMigrations,
        jobsMigrations,
        outboxMigrations,
        appMigrations,
        gmailMigrations,
        pubsubMigrations,
        searchMigrations,
      ],
    });
    const search = await openSearch(config, { pool: outbox.pool, registry });
    const mail = openMail(config, { pool: outbox.pool, registry });
    log.info(
      { engine: search.engine.name, projections: search.projections.map(({ name }) => name) },
      'search',
    );
    if (mail === undefined)
      log.info('mail is off: GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and ENCRYPTION_KEY are not all set');
    const mailHandler = mail?.handler({
      holder: outbox.holder,
      leaseTtlMs: config.OUTBOX_LEASE_SECONDS * 1_000,
    });
    const bridge = openBridge(config, registry);
    if (bridge === undefined)
      log.info('the bridge to Pub/Sub is off: BRIDGE_PUBSUB_PROJECT_ID and BRIDGE_PUBSUB_TOPIC are not set');
    else await loadProtocol();
    const imports = importLoops({ config, outbox, log, registry });
    if (imports === undefined) log.info('imports are off: FILE_STORAGE_PATH is not set');
    const runtimes = await runtimeLoops({ config, outbox, registry });
    if (runtimes === undefined) log.info('agent runtimes are off: OPENCLAW_RUNTIME is not k8s');
    else log.info({ namespace: runtimes.namespace }, 'agent runtimes');
    const byTheClock = upkeepLoops({ config, outbox, log, registry });
    return {
      loops: [
        // It re-reads the rows that events name: nothing is gained by holding later ones back.
        outbox.consume({ group: 'search', handler: search.handler, order: 'none' }),
        // A sync reads what there is, whatever told of it.
        ...(mailHandler === undefined
          ? []
          : [outbox.consume({ group: 'mail', handler: mailHandler, order: 'none' })]),
        ...(bridge === undefined ? [] : [outbox.consume({ group: 'bridge', handler: bridge.handler })]),
        ...(imports?.loops ?? []),
        ...(runtimes?.loops ?? []),
        ...byTheClock.loops,
        outbox.housekeeping,
      ],
      async close(): Promise<void> {
        await bridge?.close();
        await runtimes?.close();
        await byTheClock.close();
        await imports?.close();
        await Promise.all([tracing?.close(), outbox.close()]);
      },
    };
  },
};

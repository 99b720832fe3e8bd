// What `worker` is: the consumer groups it reads, and what each hands its events to.

import { readFileSync } from 'node:fs';
import { appMigrations } from '@pulsebox/app-schema';
import { gmailMigrations } from '@pulsebox/gmail';
import { jobsMigrations } from '@pulsebox/jobs';
import type { WorkerCommand } from '@pulsebox/loop';
import { outboxMigrations } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import { searchMigrations } from '@pulsebox/search';
import {
  checkDatabase,
  databaseVariables,
  openLog,
  openSearch,
  outboxFlags,
  outboxVariables,
  searchVariables,
} from '@pulsebox/worker-base';

type Variables = typeof databaseVariables & typeof outboxVariables & typeof searchVariables;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const workerCommand: WorkerCommand<Variables> = {
  name: 'worker',
  description: 'Delivers the outbox: search indexing.',
  version,
  healthPort: { variable: 'WORKER_HEALTH_PORT', default: 9090 },
  environment: { ...databaseVariables, ...outboxVariables, ...searchVariables },
  flagVariables: outboxFlags,
  check: checkDatabase,
  async compose({ config, log, registry }) {
    const outbox = openLog({
      context: { config, log, registry },
      applicationName: 'pulsebox-worker',
      migrations: [
        postgresMigrations,
        jobsMigrations,
        outboxMigrations,
        appMigrations,
        gmailMigrations,
        searchMigrations,
      ],
    });
    const search = await openSearch(config, { pool: outbox.pool, registry });
    log.info(
      { engine: search.engine.name, projections: search.projections.map(({ name }) => name) },
      'search',
    );
    return {
      loops: [
        // It re-reads the rows that events name: nothing is gained by holding later ones back.
        outbox.consume({ group: 'search', handler: search.handler, order: 'none' }),
        outbox.housekeeping,
      ],
      close: outbox.close,
    };
  },
};

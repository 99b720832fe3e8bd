// Runs once before all test files: one PostgreSQL for the run, and a migrated template that every file clones.

import { appMigrations } from '@pulsebox/app-schema';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { searchMigrations } from '@pulsebox/search';
import pg from 'pg';
import { startTemporaryServer } from './temporary-server.ts';
import { TEMPLATE_DATABASE } from './test-database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser on the database `postgres` of the run's server. */
    serverUrl: string;
  }
}

interface Project {
  provide(key: 'serverUrl', value: string): void;
}

export async function setup(project: Project): Promise<() => Promise<void>> {
  const server = await startTemporaryServer({
    // Nothing of a test run needs to survive a power cut.
    fsync: 'off',
    max_connections: '200',
    max_prepared_transactions: '4',
    autovacuum_naptime: '5s',
  });
  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  await admin.query(`create database ${TEMPLATE_DATABASE}`);
  await admin.end();
  const template = new URL(server.url);
  template.pathname = TEMPLATE_DATABASE;
  await migrate({ connectionString: template.href }, [
    postgresMigrations,
    outboxMigrations,
    appMigrations,
    searchMigrations,
  ]);
  project.provide('serverUrl', server.url);
  return async () => {
    await server.stop();
  };
}

// The migrated database that the databases of tests are cloned from.

import { migrate, postgresMigrations } from '@pulsebox/postgres';
import type { MigrationSet } from '@pulsebox/postgres';
import pg from 'pg';
import { TEMPLATE_DATABASE } from './test-database.ts';

/** The run's server has one already; a test with a server of its own makes one there first. */
export async function createTemplate(serverUrl: string): Promise<void> {
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`create database ${TEMPLATE_DATABASE}`);
  await admin.end();
  const template = new URL(serverUrl);
  template.pathname = TEMPLATE_DATABASE;
  await migrate({ connectionString: template.href }, await allMigrations());
}

/**
 * What `pulsebox migrate` applies, in its order; packages/cli/test/schema.test.ts holds the two together. Loaded where
 * a template is made and nowhere else: these packages bring all that they deliver to with them, and every test file that
 * imported them for nothing spent most of its processor time on that.
 */
export async function allMigrations(): Promise<readonly MigrationSet[]> {
  const { jobsMigrations } = await import('@pulsebox/jobs');
  const { outboxMigrations } = await import('@pulsebox/outbox');
  const { appMigrations } = await import('@pulsebox/app-schema');
  const { gmailMigrations } = await import('@pulsebox/gmail');
  const { pushMigrations } = await import('@pulsebox/push');
  const { pubsubMigrations } = await import('@pulsebox/pubsub');
  const { searchMigrations } = await import('@pulsebox/search');
  return [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    gmailMigrations,
    pushMigrations,
    pubsubMigrations,
    searchMigrations,
  ];
}

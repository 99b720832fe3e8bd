// The migrated database that the databases of tests are cloned from.

import { appMigrations } from '@pulsebox/app-schema';
import { jobsMigrations } from '@pulsebox/jobs';
import { gmailMigrations } from '@pulsebox/gmail';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { pubsubMigrations } from '@pulsebox/pubsub';
import { pushMigrations } from '@pulsebox/push';
import { searchMigrations } from '@pulsebox/search';
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
  await migrate({ connectionString: template.href }, [
    postgresMigrations,
    jobsMigrations,
    outboxMigrations,
    appMigrations,
    gmailMigrations,
    pushMigrations,
    pubsubMigrations,
    searchMigrations,
  ]);
}

// What npm start puts into a database: what `pulsebox migrate` does, in its order.

import { appMigrations } from '@pulsebox/app-schema';
import { jobsMigrations } from '@pulsebox/jobs';
import { gmailMigrations } from '@pulsebox/gmail';
import { outboxMigrations } from '@pulsebox/outbox';
import { postgresMigrations } from '@pulsebox/postgres';
import type { MigrationSet } from '@pulsebox/postgres';
import { pubsubMigrations } from '@pulsebox/pubsub';
import { pushMigrations } from '@pulsebox/push';
import { searchMigrations } from '@pulsebox/search';

/**
 * Again, and not from a place of its own: the command has no entry to import from, and a list in worker-base would have
 * every worker load the packages of all the others. packages/cli/test/schema.test.ts holds the lists together.
 */
export const allMigrations: readonly MigrationSet[] = [
  postgresMigrations,
  jobsMigrations,
  outboxMigrations,
  appMigrations,
  gmailMigrations,
  pushMigrations,
  pubsubMigrations,
  searchMigrations,
];

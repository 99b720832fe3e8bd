// What a Pulsebox database holds, in the order in which it is applied.

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
 * The application's tables come before search: the projections that ship read them. npm start and the databases of tests
 * have lists of their own; packages/cli/test/schema.test.ts holds them to this one.
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

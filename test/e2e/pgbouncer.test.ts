// Everything behind PgBouncer in transaction mode: the real one, where Debian's package is installed.

import { createTestDatabase, pgBouncerInstalled, startPgBouncer } from '@pulsebox/test-support';
import type { PgBouncer, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, inject, test } from 'vitest';
import { mainBehaviours } from './main-behaviours.ts';

if (!pgBouncerInstalled)
  console.warn(
    '\n*** PgBouncer is not installed here: nothing is tried behind it (apt-get install pgbouncer). ***\n',
  );

describe.runIf(pgBouncerInstalled)('behind PgBouncer in transaction mode', () => {
  let database: TestDatabase;
  let pooler: PgBouncer;

  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'), { migrated: false });
    pooler = await startPgBouncer(database.url);
  });
  afterAll(async () => {
    await pooler.stop();
    await database.drop();
  });

  mainBehaviours(() => ({ url: pooler.url, directUrl: database.url }));
});

test.runIf(!pgBouncerInstalled)('behind PgBouncer in transaction mode', ({ skip }) => {
  skip('NOT TESTED: PgBouncer is not installed here');
});

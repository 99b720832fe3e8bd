// Everything on the oldest PostgreSQL that is supported, where Debian's package is installed.

import { debianPostgresInstalled, startDebianServer } from '@pulsebox/test-support';
import type { DebianServer } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { mainBehaviours } from './main-behaviours.ts';

if (!debianPostgresInstalled)
  console.warn(
    '\n*** PostgreSQL 15 is not installed here: nothing is tried on it (apt-get install postgresql-15). ***\n',
  );

describe.runIf(debianPostgresInstalled)('on PostgreSQL 15', () => {
  let server: DebianServer;

  beforeAll(async () => {
    server = await startDebianServer();
  });
  afterAll(async () => {
    await server.stop();
  });

  mainBehaviours(() => ({ url: server.url, directUrl: server.url }));
});

test.runIf(!debianPostgresInstalled)('on PostgreSQL 15', ({ skip }) => {
  skip('NOT TESTED: PostgreSQL 15 is not installed here');
});

// Runs once before all test files: one PostgreSQL for the run, and a migrated template that every file clones.

import { createTemplate } from './template-database.ts';
import { startTemporaryServer } from './temporary-server.ts';

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
  await createTemplate(server.url);
  project.provide('serverUrl', server.url);
  return async () => {
    await server.stop();
  };
}

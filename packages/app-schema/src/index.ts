import type { MigrationSet } from '@pulsebox/postgres';

/** The application's own tables: items and files, written by the application and read by capabilities. */
export const appMigrations: MigrationSet = {
  name: 'app',
  directory: new URL('../migrations/', import.meta.url),
};

import type { MigrationSet } from '@pulsebox/postgres';

/** Documents of PostgreSQL full-text search, and which index is live. */
export const searchMigrations: MigrationSet = {
  name: 'search',
  directory: new URL('../migrations/', import.meta.url),
};

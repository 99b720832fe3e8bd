import { migrationStatus, PostgresError } from '@pulsebox/postgres';
import { plural } from '../quantities.ts';
import { allMigrations } from '../schema.ts';
import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

export const migrations: Check = {
  name: 'migrations',
  needs: 'connection',
  async run({ database }) {
    try {
      const { applied, pending } = await migrationStatus(database.connections.pooled, allMigrations);
      if (pending.length === 0) return ok(`${plural(applied.length, 'migration')} applied, none pending`);
      const names = pending.map(({ set, name }) => `${set}/${name}`).join(', ');
      return fail(`${plural(pending.length, 'migration')} pending: ${names}`, 'run `pulsebox migrate`');
    } catch (error) {
      if (error instanceof PostgresError) return fail(error.message, error.hint);
      throw error;
    }
  },
};

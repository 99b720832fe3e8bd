// A database of its own for a test file, cloned from the migrated template, and dropped with everything in it.

import { randomBytes } from 'node:crypto';
import { createPool } from '@pulsebox/postgres';
import pg from 'pg';
import type { Pool } from 'pg';

export const TEMPLATE_DATABASE = 'pulsebox_template';

export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  readonly pool: Pool;
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Clone the migrated template (default), or start with nothing. */
  readonly migrated?: boolean;
}

/** @param serverUrl vitest's `inject('serverUrl')`, or any superuser's URL where the template was made */
export async function createTestDatabase(
  serverUrl: string,
  options: TestDatabaseOptions = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(serverUrl, async (admin) => {
    const template = options.migrated === false ? 'template0' : TEMPLATE_DATABASE;
    await admin.query(`create database ${name} template ${template}`);
  });
  const url = new URL(serverUrl);
  url.pathname = name;
  const pool = createPool({
    connection: { connectionString: url.href },
    max: 20,
    // Dropping the database ends connections of a test that left some open.
    onIdleError: () => undefined,
  });
  return {
    url: url.href,
    name,
    pool,
    async drop(): Promise<void> {
      await pool.end();
      await administer(serverUrl, async (admin) => {
        await admin.query(`drop database ${name} with (force)`);
      });
    },
  };
}

async function administer(serverUrl: string, work: (admin: pg.Client) => Promise<void>): Promise<void> {
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}

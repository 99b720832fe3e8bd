import type { Pool } from 'pg';
import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

/** One row. No index. */
const WRITABLE = `
  select pg_is_in_recovery() as standby, current_setting('default_transaction_read_only')::boolean as "readOnly"`;

/**
 * Half a megabyte that does not compress, in a table of this connection that nobody else sees and that is rolled back. No
 * setting tells of a disk that is full.
 */
const WRITE = `
  create temporary table pulsebox_doctor as
  select md5(n::text) || md5((-n)::text) as filling from generate_series(1, 5000) n`;

export const writable: Check = {
  name: 'writable',
  needs: 'connection',
  async run({ pool }) {
    const { rows } = await pool.query<{ standby: boolean; readOnly: boolean }>(WRITABLE);
    if (rows[0]?.standby === true) {
      return fail('the server is a standby and takes no writes', 'name the primary in DATABASE_URL');
    }
    if (rows[0]?.readOnly === true) {
      return fail(
        'transactions are read-only by default for this role or database',
        'alter role or database … set default_transaction_read_only = off',
      );
    }
    await write(pool);
    return ok('the server takes writes');
  },
};

/** @throws what the server says of a full disk, for instance */
async function write(pool: Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query(WRITE);
  } catch (error) {
    // A role need not be allowed temporary tables.
    if ((error as { readonly code?: unknown }).code !== '42501') throw error;
  } finally {
    await client.query('rollback').catch(() => undefined);
    client.release();
  }
}

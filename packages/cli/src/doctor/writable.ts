import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

/** One row. No index. */
const WRITABLE = `
  select pg_is_in_recovery() as standby, current_setting('default_transaction_read_only')::boolean as "readOnly"`;

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
    return ok('the server takes writes');
  },
};

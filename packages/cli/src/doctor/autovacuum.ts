import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

/** One row: whether it is on, and the tables of ours where it is switched off. No index. */
const AUTOVACUUM = `
  select current_setting('autovacuum')::boolean as enabled,
         array(select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname in ('outbox', 'pulsebox', 'search')
                 and array_to_string(c.reloptions, ' ') ~* 'autovacuum_enabled=(false|off|no|0)'
               order by 1) as "switchedOff"`;

export const autovacuum: Check = {
  name: 'autovacuum',
  needs: 'connection',
  async run({ pool }) {
    const { rows } = await pool.query<{ enabled: boolean; switchedOff: string[] }>(AUTOVACUUM);
    const { enabled = true, switchedOff = [] } = rows[0] ?? {};
    if (!enabled) {
      return warn(
        'autovacuum is off: statistics age, and cursor rows that were replaced pile up',
        'set autovacuum = on',
      );
    }
    return switchedOff.length === 0
      ? ok('autovacuum is on')
      : warn(
          `autovacuum is switched off for ${switchedOff.join(', ')}`,
          switchedOff.map((table) => `alter table ${table} reset (autovacuum_enabled);`).join(' '),
        );
  },
};

import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

/** One row. Every role may count sessions, whoever they belong to. No index. */
const CONNECTIONS = `
  select count(*)::float8 as used,
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as allowed
  from pg_stat_activity where datid is not null and backend_type is distinct from 'autovacuum worker'`;

/** From here on a rolling update of workers and application may not fit any more. */
const NEARLY_FULL = 0.85;

export const connectionRoom: Check = {
  name: 'connections',
  needs: 'connection',
  async run({ pool }) {
    const { rows } = await pool.query<{ used: number; allowed: number }>(CONNECTIONS);
    const { used = 0, allowed = 1 } = rows[0] ?? {};
    return used < allowed * NEARLY_FULL
      ? ok(`${used} of ${allowed} connections are in use`)
      : warn(
          `${used} of ${allowed} connections are in use`,
          'raise max_connections, put a pooler in front, or lower DATABASE_POOL_SIZE of the workers',
        );
  },
};

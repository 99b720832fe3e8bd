import type { Check } from './check.ts';
import { fail, ok } from './finding.ts';

const OLDEST_MAJOR_VERSION = 15;

/** One row. No index. */
const SERVER_VERSION = `
  select current_setting('server_version') as version, current_setting('server_version_num')::int / 10000 as major`;

export const serverVersion: Check = {
  name: 'server-version',
  needs: 'connection',
  async run({ pool }) {
    const { rows } = await pool.query<{ version: string; major: number }>(SERVER_VERSION);
    const { version = 'unknown', major = 0 } = rows[0] ?? {};
    return major >= OLDEST_MAJOR_VERSION
      ? ok(`PostgreSQL ${version}`)
      : fail(
          `expected PostgreSQL ${OLDEST_MAJOR_VERSION} or later, got ${version}`,
          'upgrade the server; 15 to 18 are tested',
        );
  },
};

// Settings with which a crash of the server loses what was committed.

import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';

/** One row. No index. */
const DURABILITY = `
  select current_setting('fsync')::boolean as fsync, current_setting('full_page_writes')::boolean as "fullPageWrites",
         current_setting('synchronous_commit') as "synchronousCommit"`;

export const durability: Check = {
  name: 'durability',
  needs: 'connection',
  async run({ pool }) {
    const { rows } = await pool.query<{ fsync: boolean; fullPageWrites: boolean; synchronousCommit: string }>(
      DURABILITY,
    );
    const { fsync = true, fullPageWrites = true, synchronousCommit = 'on' } = rows[0] ?? {};
    const findings = [
      ...(fsync
        ? []
        : [
            warn(
              'fsync is off: a crash of the machine can leave the whole database unreadable',
              'set fsync = on, unless this is a database for tests',
            ),
          ]),
      ...(fullPageWrites
        ? []
        : [
            warn(
              'full_page_writes is off: a crash of the machine can leave torn pages',
              'set full_page_writes = on',
            ),
          ]),
      ...(synchronousCommit === 'off'
        ? [
            warn(
              'synchronous_commit is off: a crash of the server loses the last events that were committed',
              'set synchronous_commit = on for the roles of producers',
            ),
          ]
        : []),
    ];
    return findings.length === 0 ? ok('what is committed survives a crash of the server') : findings;
  },
};

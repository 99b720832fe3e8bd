// What the role of this connection may do, measured by what a worker does.

import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/**
 * One row: what the role lacks, and whether it may make partitions. No index.
 * Making a partition needs CREATE on the schema and the ownership of the log.
 */
const MISSING_PRIVILEGES = `
  select current_user as role,
         array_remove(array[
           case when not has_schema_privilege('pulsebox', 'usage') then 'usage on schema pulsebox' end,
           case when not has_table_privilege('pulsebox.migration', 'select') then 'select on pulsebox.migration' end,
           case when not (has_table_privilege('pulsebox.lease', 'select') and has_table_privilege('pulsebox.lease', 'insert')
                      and has_table_privilege('pulsebox.lease', 'update')) then 'select, insert, update on pulsebox.lease' end,
           case when not has_schema_privilege('outbox', 'usage') then 'usage on schema outbox' end,
           case when not has_table_privilege('outbox.event', 'select') then 'select on outbox.event' end,
           case when not (has_table_privilege('outbox.cursor', 'select') and has_table_privilege('outbox.cursor', 'insert')
                      and has_table_privilege('outbox.cursor', 'delete')) then 'select, insert, delete on outbox.cursor' end,
           case when not (has_table_privilege('outbox.consumer_group', 'select')
                      and has_table_privilege('outbox.consumer_group', 'insert'))
                then 'select, insert on outbox.consumer_group' end,
           case when not (has_sequence_privilege('outbox.sleeping_until', 'select')
                      and has_sequence_privilege('outbox.sleeping_until', 'update'))
                then 'select, update on sequence outbox.sleeping_until' end,
           case when not has_table_privilege('outbox.setting', 'select') then 'select on outbox.setting' end
         ], null) as missing,
         pg_get_userbyid(c.relowner) as owner,
         pg_has_role(c.relowner, 'usage') and has_schema_privilege('outbox', 'create') as "makesPartitions"
  from pg_class c where c.oid = 'outbox.event'::regclass`;

export const privileges: Check = {
  name: 'privileges',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<{
      role: string;
      missing: string[];
      owner: string;
      makesPartitions: boolean;
    }>(MISSING_PRIVILEGES);
    const { role = '?', missing = [], owner = '?', makesPartitions = false } = rows[0] ?? {};
    if (missing.length > 0) {
      return fail(
        `the role ${role} lacks what a worker needs: ${missing.join('; ')}`,
        `run workers as ${owner}, which owns the tables, or grant each of these to ${role}`,
      );
    }
    if (makesPartitions) return ok(`the role ${role} may do all that a worker does`);
    return warn(
      `the role ${role} cannot make partitions of the log, which workers do ahead of time`,
      `run one worker as ${owner}, or: grant ${owner} to ${role};`,
    );
  },
};

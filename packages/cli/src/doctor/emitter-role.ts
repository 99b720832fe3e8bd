// The role that may only emit, and what it needs for that.

import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/**
 * One row: whether the role is there, and the statements that would grant what it lacks. No index.
 * The grants are those of the log's first migration; a dump restored without roles loses them.
 */
const MISSING_GRANTS = `
  select r.oid is not null as present,
         array_remove(array[
           case when not has_schema_privilege(r.oid, 'outbox', 'usage')
                then 'grant usage on schema outbox to outbox_emitter' end,
           case when not (has_column_privilege(r.oid, 'outbox.event', 'topic', 'insert')
                      and has_column_privilege(r.oid, 'outbox.event', 'key', 'insert')
                      and has_column_privilege(r.oid, 'outbox.event', 'payload', 'insert')
                      and has_column_privilege(r.oid, 'outbox.event', 'headers', 'insert'))
                then 'grant insert (topic, key, payload, headers) on outbox.event to outbox_emitter' end,
           case when not has_column_privilege(r.oid, 'outbox.event', 'seq', 'select')
                then 'grant select (seq) on outbox.event to outbox_emitter' end,
           case when not has_sequence_privilege(r.oid, 'outbox.event_seq', 'usage')
                then 'grant usage on sequence outbox.event_seq to outbox_emitter' end,
           case when not has_sequence_privilege(r.oid, 'outbox.sleeping_until', 'select')
                then 'grant select on sequence outbox.sleeping_until to outbox_emitter' end,
           case when not has_table_privilege(r.oid, 'outbox.setting', 'select')
                then 'grant select on outbox.setting to outbox_emitter' end,
           case when not has_function_privilege(r.oid, 'outbox.emit(text, jsonb, text, jsonb)', 'execute')
                then 'grant execute on function outbox.emit to outbox_emitter' end
         ], null) as missing
  from (select) as always
  left join pg_roles r on r.rolname = 'outbox_emitter'`;

export const emitterRole: Check = {
  name: 'emitter-role',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<{ present: boolean; missing: string[] }>(MISSING_GRANTS);
    const { present = false, missing = [] } = rows[0] ?? {};
    if (!present) {
      return warn(
        'the role outbox_emitter is not there: applications emit with more privileges than they need',
        `as a superuser: create role outbox_emitter nologin; ${GRANT_ALL}`,
      );
    }
    return missing.length === 0
      ? ok('the role outbox_emitter may emit, and nothing else is needed for it')
      : fail('the role outbox_emitter lacks privileges that it needs to emit', `${missing.join('; ')};`);
  },
};

const GRANT_ALL =
  'grant usage on schema outbox to outbox_emitter; grant insert (topic, key, payload, headers), select (seq) on outbox.event to outbox_emitter; grant usage on sequence outbox.event_seq to outbox_emitter; grant select on sequence outbox.sleeping_until to outbox_emitter; grant select on outbox.setting to outbox_emitter; grant execute on function outbox.emit to outbox_emitter;';

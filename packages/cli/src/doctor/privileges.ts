// What the role of this connection may do, measured by what a worker does.

import { isSet } from '../database.ts';
import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/**
 * One row for each schema or table where something is lacking. $1: whether search is PostgreSQL's own. No index.
 * By oid throughout: a role that may not use a schema may not name what is in it either.
 */
const MISSING_PRIVILEGES = `
  with needed (schema_name, relation, privileges, when_searching) as (values
    ('pulsebox', 'migration', '{select}'::text[], false),
    ('pulsebox', 'lease', '{select,insert,update}', false),
    ('outbox', 'event', '{select}', false),
    ('outbox', 'cursor', '{select,insert,delete}', false),
    ('outbox', 'parked', '{select,insert,update,delete}', false),
    ('outbox', 'attempt', '{select,insert,update,delete}', false),
    ('outbox', 'pause', '{select,insert,update,delete}', false),
    ('outbox', 'consumer_group', '{select,insert}', false),
    ('outbox', 'setting', '{select}', false),
    ('outbox', 'event_seq', '{select}', false),
    ('outbox', 'sleeping_until', '{select,update}', false),
    ('search', 'generation', '{select,insert,update,delete}', true),
    ('search', 'document', '{select,insert,update,delete}', true)
  ), present as (
    select needed.*, n.oid as schema_oid, c.oid, c.relkind
    from needed
    join pg_namespace n on n.nspname = needed.schema_name
    join pg_class c on c.relnamespace = n.oid and c.relname = needed.relation
    where not when_searching or $1
  )
  select 'usage on schema ' || schema_name as lacking, 1 as rank
  from present where not has_schema_privilege(schema_oid, 'usage') group by schema_name
  union all
  select string_agg(privilege, ', ' order by n) || ' on ' || case relkind when 'S' then 'sequence ' else '' end
         || schema_name || '.' || relation, 2
  from present cross join unnest(privileges) with ordinality as p(privilege, n)
  where not case relkind when 'S' then has_sequence_privilege(oid, privilege) else has_table_privilege(oid, privilege) end
  group by schema_name, relation, relkind
  order by rank, lacking`;

/**
 * One row: the role, who owns the log, and whether the role may make partitions of it: that needs its ownership, and
 * CREATE on the schema. No index.
 */
const OWNERSHIP = `
  select current_user as role, pg_get_userbyid(c.relowner) as owner,
         pg_has_role(c.relowner, 'usage') and has_schema_privilege(n.oid, 'create') as "makesPartitions"
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'outbox' and c.relname = 'event'`;

export const privileges: Check = {
  name: 'privileges',
  needs: 'schema',
  async run({ pool, env, database }) {
    const fullText = !isSet(env['MEILI_URL']) && database.run?.meiliUrl === undefined;
    const { rows: missing } = await pool.query<{ lacking: string }>(MISSING_PRIVILEGES, [fullText]);
    const { rows } = await pool.query<{ role: string; owner: string; makesPartitions: boolean }>(OWNERSHIP);
    const { role = '?', owner = '?', makesPartitions = false } = rows[0] ?? {};
    if (missing.length > 0) {
      return fail(
        `the role ${role} lacks what a worker needs: ${missing.map(({ lacking }) => lacking).join('; ')}`,
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

// What the database says of itself: connections, disk, WAL, dead rows, queues.

import type { Queryable } from '@pulsebox/postgres';

const MIB = 2 ** 20;

/** Result: one row for each program that is connected. */
const CONNECTIONS = `
  select application_name as name, count(*)::int as value from pg_stat_activity
  where datname = current_database() and application_name like 'pulsebox%' group by 1`;

/** Result: one row for each schema that is not PostgreSQL's own. Bytes with indexes and what is stored out of line. */
const DISK = `
  select n.nspname as name, coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as value
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'S') and n.nspname !~ '^(pg_|information_schema|public)' group by 1`;

/** Result: one row for each schema. */
const DEAD_ROWS = `
  select schemaname as name, sum(n_dead_tup)::float8 as value from pg_stat_user_tables group by 1`;

/** Result: one row for each state. */
const JOBS = `select state::text as name, count(*)::float8 as value from pgboss.job group by 1`;

/** Result: one row. */
const REST = `
  select pg_database_size(current_database())::float8 as "databaseBytes",
         (select sum(size)::float8 from pg_ls_waldir()) as "walBytes",
         (pg_current_wal_lsn() - '0/0')::float8 as "walWritten",
         (select count(*)::int from outbox.partition) as partitions,
         (select min(lower_bound)::float8 from outbox.partition) as "logBegins",
         (select count(*)::int from outbox.cursor) as cursors,
         (select count(*)::int from outbox.parked) as parked,
         (select count(*)::int from push.delivery) as deliveries,
         (select count(*)::int from app.mail_messages) as mails`;

interface Rest {
  readonly databaseBytes: number;
  readonly walBytes: number;
  readonly walWritten: number;
  readonly partitions: number;
  readonly logBegins: number;
  readonly cursors: number;
  readonly parked: number;
  readonly deliveries: number;
  readonly mails: number;
}

export async function sampleDatabase(db: Queryable): Promise<Readonly<Record<string, number>>> {
  const sample: Record<string, number> = {};
  const each = async (text: string, prefix: string, unit = 1): Promise<number> => {
    const { rows } = await db.query<{ name: string; value: number }>(text);
    for (const { name, value } of rows) sample[`${prefix} ${name}`] = value / unit;
    return rows.reduce((sum, { value }) => sum + value, 0) / unit;
  };
  await each(CONNECTIONS, 'connections');
  await each(DISK, 'disk', MIB);
  sample['dead rows in all'] = await each(DEAD_ROWS, 'dead rows');
  await each(JOBS, 'jobs');
  const { rows } = await db.query<Rest>(REST);
  const rest = rows[0];
  if (rest === undefined) throw new Error('the database says nothing of itself');
  return {
    ...sample,
    'disk in all': rest.databaseBytes / MIB,
    'WAL on disk': rest.walBytes / MIB,
    'WAL written in all': rest.walWritten / MIB,
    partitions: rest.partitions,
    'the log begins at': rest.logBegins,
    'rows outbox.cursor': rest.cursors,
    'rows outbox.parked': rest.parked,
    'rows push.delivery': rest.deliveries,
    'rows app.mail_messages': rest.mails,
  };
}

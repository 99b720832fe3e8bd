// What keeps old row versions and old xids alive: long transactions, prepared ones, replication slots.

import { duration, plural } from '../quantities.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';
import type { Finding } from './finding.ts';

/**
 * Transactions open for longer than $1 minutes, this one left out, the oldest first; at most 5. No index.
 * A standby with hot_standby_feedback shows as a walsender with an xmin and without a transaction: it is left out.
 */
const LONG_TRANSACTIONS = `
  select pid, coalesce(usename, '?') as role, coalesce(nullif(application_name, ''), '?') as application,
         coalesce(state, '?') as state, extract(epoch from clock_timestamp() - xact_start)::float8 as "ageSeconds",
         backend_xid is not null as writes
  from pg_stat_activity
  where xact_start < clock_timestamp() - $1 * interval '1 minute' and pid <> pg_backend_pid()
    and datid is not null and backend_type is distinct from 'autovacuum worker'
  order by xact_start
  limit 5`;

/** Prepared for longer than $1 minutes, on this server. No index. */
const PREPARED_TRANSACTIONS = `
  select gid, database, extract(epoch from clock_timestamp() - prepared)::float8 as "ageSeconds"
  from pg_prepared_xacts
  where prepared < clock_timestamp() - $1 * interval '1 minute'
  order by prepared
  limit 5`;

/** Slots that nobody reads and that hold rows or WAL back. No index. Every role may read them. */
const IDLE_SLOTS = `
  select slot_name as name, coalesce(age(coalesce(xmin, catalog_xmin)), 0)::float8 as transactions
  from pg_replication_slots
  where not active and not temporary and (xmin is not null or catalog_xmin is not null or restart_lsn is not null)
  order by 2 desc
  limit 5`;

/** Whether this role sees what others do. */
const SEES_OTHERS = `select pg_has_role('pg_read_all_stats', 'usage') as sees`;

interface LongTransaction {
  readonly pid: number;
  readonly role: string;
  readonly application: string;
  readonly state: string;
  readonly ageSeconds: number;
  readonly writes: boolean;
}

export const heldXmin: Check = {
  name: 'long-transactions',
  needs: 'connection',
  async run({ pool, longTransactionMinutes }) {
    const minutes = [longTransactionMinutes];
    const { rows: open } = await pool.query<LongTransaction>(LONG_TRANSACTIONS, minutes);
    const { rows: prepared } = await pool.query<{ gid: string; database: string; ageSeconds: number }>(
      PREPARED_TRANSACTIONS,
      minutes,
    );
    const { rows: slots } = await pool.query<{ name: string; transactions: number }>(IDLE_SLOTS);
    const { rows: sees } = await pool.query<{ sees: boolean }>(SEES_OTHERS);
    const findings: Finding[] = [
      ...open.map(describeOpen),
      ...prepared.map(({ gid, database, ageSeconds }) =>
        warn(
          `the transaction ${printable(gid)} in ${printable(database)} was prepared ${duration(ageSeconds)} ago and is not finished: its events wait, and dead rows pile up`,
          `in ${printable(database)}: commit prepared '${gid}'; or rollback prepared '${gid}';`,
        ),
      ),
      ...slots.map(({ name, transactions }) =>
        warn(
          `nobody reads the replication slot ${name}: it holds WAL back${transactions > 0 ? `, and dead rows of ${plural(transactions, 'transaction')}` : ''}`,
          `start its reader, or: select pg_drop_replication_slot('${name}');`,
        ),
      ),
      ...(sees[0]?.sees === true
        ? []
        : [
            warn(
              'this role does not see what other roles have open',
              'grant pg_read_all_stats to it, so that long transactions can be found',
            ),
          ]),
    ];
    if (findings.length > 0) return findings;
    return ok(`no transaction is open for longer than ${plural(longTransactionMinutes, 'minute')}`);
  },
};

function describeOpen({ pid, role, application, state, ageSeconds, writes }: LongTransaction): Finding {
  const who = printable(`process ${pid} of ${role} (${application}, ${state})`);
  return warn(
    `${who} has a transaction open for ${duration(ageSeconds)}: ${writes ? 'events that it has written wait for its end, and ' : ''}dead rows pile up meanwhile`,
    `find out what it does; to end it: select pg_terminate_backend(${pid});`,
  );
}

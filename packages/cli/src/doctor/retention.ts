// Whether the oldest partition of the log is dropped when its time has come, and what keeps it.

import { parseEnvironment } from '@pulsebox/loop';
import { outboxVariables } from '@pulsebox/worker-base';
import { duration, plural } from '../quantities.ts';
import { printable } from '../terminal.ts';
import type { Check } from './check.ts';
import { ok, warn } from './finding.ts';
import type { Finding } from './finding.ts';

/**
 * The oldest partition if its last event was written more than $1 hours ago, and whether a transaction that may still
 * have events in it is open. 0 rows: nothing is due. Reads the catalogue and sealed_partition.
 */
const DUE = `
  select p.name, s.horizon::text as horizon,
         extract(epoch from clock_timestamp() - s.sealed_at)::float8 - $1 * 3600 as "dueSeconds",
         pg_snapshot_xmin(pg_current_snapshot()) < s.horizon as open
  from outbox.partition p join outbox.sealed_partition s using (upper_bound)
  where p.upper_bound = (select min(every.upper_bound) from outbox.partition every)
    and s.sealed_at < clock_timestamp() - $1 * interval '1 hour'`;

/**
 * Whose transaction is older than $1, in any database of the server: an idle one with a number of its own is enough.
 * Old row versions may be held by others, a drop is not: neither readers nor replication slots have such a number.
 * No index. 0 rows: none that this role sees.
 */
const OPEN_TRANSACTIONS = `
  select 'process ' || pid || ' of ' || coalesce(usename, '?') || ' (' || coalesce(nullif(application_name, ''), '?')
           || ', ' || coalesce(state, '?') || ', database ' || coalesce(datname, '?') || ')' as who,
         'select pg_terminate_backend(' || pid || ');' as remedy,
         extract(epoch from clock_timestamp() - xact_start)::float8 as "ageSeconds"
  from pg_stat_activity
  where backend_xid is not null and age(backend_xid) > age($1::xid8::xid) and pid <> pg_backend_pid()
  union all
  select 'the prepared transaction ' || gid || ' (database ' || database || ')',
         'in ' || database || ': rollback prepared ' || quote_literal(gid) || ';',
         extract(epoch from clock_timestamp() - prepared)::float8
  from pg_prepared_xacts
  where age(transaction) > age($1::xid8::xid)
  order by "ageSeconds" desc
  limit 5`;

/** A partition that has been due for less may wait for the next housekeeping, or for a moment to take its lock. */
const PATIENCE_SECONDS = 3_600;

interface Due {
  readonly name: string;
  readonly horizon: string;
  readonly dueSeconds: number;
  readonly open: boolean;
}

interface Blocker {
  readonly who: string;
  readonly remedy: string;
  readonly ageSeconds: number | null;
}

export const retention: Check = {
  name: 'retention',
  needs: 'schema',
  async run({ pool, env }) {
    const { OUTBOX_KEEP_HOURS } = outboxVariables;
    const keepHours = parseEnvironment({ OUTBOX_KEEP_HOURS }, env).OUTBOX_KEEP_HOURS;
    const { rows } = await pool.query<Due>(DUE, [keepHours]);
    const due = rows[0];
    if (due === undefined)
      return ok(`no partition of the log has been full for ${plural(keepHours, 'hour')}`);
    if (due.open) {
      const { rows: blockers } = await pool.query<Blocker>(OPEN_TRANSACTIONS, [due.horizon]);
      if (blockers.length > 0) return blockers.map((blocker) => describeBlocker(due, blocker));
      return warn(
        `${due.name} cannot be dropped: a transaction is open that may still have events in it, and this role does not see whose`,
        'grant pg_read_all_stats to it, and ask again',
      );
    }
    if (due.dueSeconds < PATIENCE_SECONDS) return ok(`${due.name} is due to be dropped`);
    return warn(
      `${due.name} could have been dropped ${duration(due.dueSeconds)} ago: a group has not passed it, somebody reads the log for a rebuild, transactions on the log never leave it alone, or no worker runs`,
      '`pulsebox groups` says who is behind; `pulsebox groups retire` forgets a group that nobody reads any more',
    );
  },
};

function describeBlocker({ name }: Due, { who, remedy, ageSeconds }: Blocker): Finding {
  return warn(
    `${name} cannot be dropped: ${printable(who)} has a transaction open for ${duration(ageSeconds ?? 0)} that may still have events in it`,
    `find out what it does; to end it: ${printable(remedy)}`,
  );
}

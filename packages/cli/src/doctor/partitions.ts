// Whether the log has room for what comes next.

import { count, plural } from '../quantities.ts';
import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/**
 * One row: the next position, where the partition that takes it ends (null: there is none), and where the log ends.
 * Reads the catalogue. The bounds come from the partitions themselves, since a name says nothing of one that was
 * detached or dropped in between.
 */
const PARTITIONS = `
  with bounds as (
    select substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \\(''?(-?[0-9]+)')::bigint as lower_bound,
           substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''?(-?[0-9]+)')::bigint as upper_bound
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'outbox.event'::regclass
  )
  select next.seq::float8 as next,
         (select upper_bound from bounds where lower_bound <= next.seq and upper_bound > next.seq)::float8 as "currentEnd",
         (select min(lower_bound) from bounds where lower_bound > next.seq)::float8 as "nextStart",
         coalesce((select max(upper_bound) from bounds), 0)::float8 as "end"
  from (select last_value + case when is_called then 1 else 0 end as seq from outbox.event_seq) next`;

interface Room {
  readonly next: number;
  readonly currentEnd: number | null;
  readonly nextStart: number | null;
  readonly end: number;
}

/** What a partition holds. Workers keep two of them ahead. */
const PARTITION_SIZE = 10_000_000;

export const partitions: Check = {
  name: 'partitions',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<Room>(PARTITIONS);
    const room = rows[0];
    if (room === undefined)
      return fail('the sequence of the log has no value', 'restore the database from a backup');
    if (room.currentEnd === null) {
      return fail(`no partition takes position ${room.next}: nothing can be emitted`, remedyFor(room));
    }
    const left = room.end - room.next;
    if (left < PARTITION_SIZE) {
      return warn(
        `the log has room for ${plural(left, 'event')} more, and then nothing can be emitted`,
        'start a worker (it makes partitions ahead), or: select outbox.create_partitions(2);',
      );
    }
    return ok(`the log has room for ${count(left)} more events`);
  },
};

/** `outbox.create_partitions` makes what comes after the last partition; a hole before it has to be filled by name. */
function remedyFor({ next, nextStart }: Room): string {
  if (nextStart === null)
    return 'start a worker (it makes partitions ahead), or: select outbox.create_partitions(2);';
  const lower = Math.floor(next / PARTITION_SIZE) * PARTITION_SIZE;
  const upper = Math.min(nextStart, lower + PARTITION_SIZE);
  return `attach the partition that was taken away, or: create table outbox.event_until_${upper} partition of outbox.event for values from (${lower}) to (${upper});`;
}

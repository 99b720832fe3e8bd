// Whether the log has room for what comes next.

import { count, plural } from '../quantities.ts';
import type { Check } from './check.ts';
import { fail, ok, warn } from './finding.ts';

/**
 * One row: the next position; where the overflow begins, the partition without an end (null: there is none); and the
 * first position from the next one on that no partition takes (null: the overflow takes them all).
 * Reads the catalogue. The bounds come from the partitions themselves, since a name says nothing of one that was
 * detached or dropped in between.
 */
const PARTITIONS = `
  with recursive bounds as (
    select substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \\(''?(-?[0-9]+)')::bigint as lower_bound,
           substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''?(-?[0-9]+)')::bigint as upper_bound
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'outbox.event'::regclass
  ),
  next as (
    select last_value + case when is_called then 1 else 0 end as seq from outbox.event_seq
  ),
  covered as (
    select next.seq as up_to from next
    union
    select bounds.upper_bound from covered join bounds
      on bounds.lower_bound <= covered.up_to and coalesce(bounds.upper_bound > covered.up_to, true)
  )
  select next.seq::float8 as next,
         (select lower_bound from bounds where upper_bound is null)::float8 as "overflowAt",
         (select case when bool_or(up_to is null) then null else max(up_to) end from covered)::float8 as "gapAt",
         (select min(lower_bound) from bounds where lower_bound > (select max(up_to) from covered))::float8 as "nextStart"
  from next`;

interface Room {
  readonly next: number;
  readonly overflowAt: number | null;
  readonly gapAt: number | null;
  readonly nextStart: number | null;
}

/** What a partition holds. */
const PARTITION_SIZE = 10_000_000;

const MAKE_ROOM = 'start a worker (it makes partitions), or: select outbox.create_partitions(2);';

export const partitions: Check = {
  name: 'partitions',
  needs: 'schema',
  async run({ pool }) {
    const { rows } = await pool.query<Room>(PARTITIONS);
    const room = rows[0];
    if (room === undefined)
      return fail('the sequence of the log has no value', 'restore the database from a backup');
    const { next, overflowAt, gapAt } = room;
    if (gapAt === next)
      return fail(`no partition takes position ${next}: nothing can be emitted`, remedyFor(room));
    if (gapAt !== null) {
      return warn(
        `the log has room for ${plural(gapAt - next, 'event')} more, and then nothing can be emitted`,
        MAKE_ROOM,
      );
    }
    if (overflowAt !== null && next >= overflowAt) {
      return warn(
        `${plural(next - overflowAt, 'event')} went into the overflow of the log, since nobody has made partitions for so long: none of them is dropped until it is cut`,
        'start a worker: it cuts the overflow by itself',
      );
    }
    return ok(
      `the log has room for ${count((overflowAt ?? next) - next)} more events before its overflow, which takes any number`,
    );
  },
};

/** `outbox.create_partitions` makes what comes after the last partition; a hole before it has to be filled by name. */
function remedyFor({ next, nextStart }: Room): string {
  if (nextStart === null) return MAKE_ROOM;
  const lower = Math.floor(next / PARTITION_SIZE) * PARTITION_SIZE;
  const upper = Math.min(nextStart, lower + PARTITION_SIZE);
  return `attach the partition that was taken away, or: create table outbox.event_until_${upper} partition of outbox.event for values from (${lower}) to (${upper});`;
}

// Compares what was committed with what was delivered. Everything is asked of the database, after the fact.

import type { Queryable } from '@pulsebox/postgres';
import { STUCK, TWOFOLD, UNJUST, USURPED } from './parked-checks.ts';

export type CheckName =
  | 'lost'
  | 'phantom'
  | 'inverted'
  | 'unexplained'
  | 'unjust'
  | 'stuck'
  | 'twofold'
  | 'usurped';

export interface Check {
  readonly name: CheckName;
  readonly meaning: string;
  readonly count: number;
  /** The first few, each a sentence. */
  readonly offenders: readonly string[];
}

/** Each query yields `count` and one `offender` a row; 0 rows: nothing is wrong. */
const OFFENDERS_SHOWN = 5;

const LOST = `
  select count(*) over ()::float8 as count,
         format('event %s (%s, xid %s, %L) was never delivered to %s; %s', e.seq,
                case when e.key is null then 'no key' else format('%s, number %s', e.key, e.counter) end, e.xid, e.behaviour, g.name,
                coalesce(passed.by_whom, 'nothing after it was')) as offender
  from torture.emitted e cross join outbox.consumer_group g
  left join lateral (
    select format('worker %s went past it in its batch %s, under token %s, with event %s',
                  d.worker, d.batch, d.token, d.position) as by_whom
    from torture.delivery d where d.position > e.seq and d.group_name = g.name order by d.id limit 1
  ) passed on true
  where not exists (select from torture.delivery d where d.position = e.seq and d.group_name = g.name)
    and not exists (select from outbox.parked p where p.position = e.seq and p.group_name = g.name)
    and not exists (select from torture.parking s
                    where s.position = e.seq and s.group_name = g.name and s.step = 'discarded')
  order by e.seq, g.name
  limit $1`;

const PHANTOM = `
  select count(*) over ()::float8 as count,
         format('event %s (%s) was delivered by worker %s in its batch %s, but never committed',
                d.position, coalesce(d.key, 'no key'), d.worker, d.batch) as offender
  from torture.delivery d
  where not exists (select from torture.emitted e where e.seq = d.position)
  order by d.id
  limit $1`;

/**
 * Of those that came: one that came for the first time after a later one of its key. Of those that never came: a later
 * one of the key did, and not because this one had been discarded before.
 */
const INVERTED = `
  with never as materialized (
    select e.seq, e.key, e.counter, g.name as group_name,
           (select max(s.at) from torture.parking s
            where s.position = e.seq and s.group_name = g.name and s.step = 'discarded') as discarded_at
    from torture.emitted e cross join outbox.consumer_group g
    where e.key is not null
      and not exists (select from torture.delivery d where d.position = e.seq and d.group_name = g.name)
  )
  select count(*) over ()::float8 as count, offender from (
  select o.id,
         format('%s: number %s (event %s, xid %s, worker %s, batch %s) came to %s after number %s', o.key, o.counter, o.position,
                e.xid, o.worker, o.batch, o.group_name, o.highest_before) as offender
  from (
    select f.*, max(counter) over (partition by group_name, key order by id rows between unbounded preceding and 1 preceding)
                  as highest_before
    from (
      select distinct on (position, group_name) id, group_name, position, key, counter, worker, batch
      from torture.delivery where key is not null
      order by position, group_name, id
    ) f
  ) o
  join torture.emitted e on e.seq = o.position
  where o.counter < o.highest_before
  union all
  select d.id,
         format('%s: number %s (event %s, worker %s, batch %s) came to %s though number %s (event %s) had neither come nor been discarded',
                never.key, d.counter, d.position, d.worker, d.batch, never.group_name, never.counter, never.seq)
  from never
  join torture.emitted l on l.key = never.key and l.counter > never.counter
  join torture.delivery d on d.position = l.seq and d.group_name = never.group_name
  where never.discarded_at is null or d.at < never.discarded_at
  ) offenders
  order by id
  limit $1`;

/** See torture.redelivery in schema.ts for what explains a redelivery. */
const UNEXPLAINED = `
  select count(*) over ()::float8 as count,
         format('event %s was delivered to %s again by worker %s (batch %s, token %s) after worker %s (batch %s, token %s), %s',
                position, group_name, worker, batch, token, before_worker, before_batch, before_token,
                case when same_reign then 'under the same lease'
                     when not lease_ended then 'which still holds the lease'
                     when lease_ran_out then 'whose lease ran out though nothing had happened to it'
                     else 'which had given its lease back' end) as offender
  from torture.redelivery
  where explained_by is null
  order by id
  limit $1`;

export async function runChecks(db: Queryable): Promise<Check[]> {
  const checks: readonly [CheckName, string, string][] = [
    ['lost', 'committed and never delivered', LOST],
    ['phantom', 'delivered and never committed', PHANTOM],
    ['inverted', 'delivered before an earlier one of the same key', INVERTED],
    ['unexplained', 'delivered again though nothing had happened', UNEXPLAINED],
    ['stuck', 'parked, and neither tried again nor behind a dead letter', STUCK],
    ['unjust', 'dead without a reason, or without its history', UNJUST],
    ['twofold', 'delivered, and a dead letter or behind one', TWOFOLD],
    ['usurped', 'stored by a worker that did not hold the lane', USURPED],
  ];
  const results: Check[] = [];
  for (const [name, meaning, sql] of checks) {
    const { rows } = await db.query<{ count: number; offender: string }>(sql, [OFFENDERS_SHOWN]);
    results.push({ name, meaning, count: rows[0]?.count ?? 0, offenders: rows.map((row) => row.offender) });
  }
  return results;
}

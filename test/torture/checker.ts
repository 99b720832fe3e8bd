// Compares what was committed with what was delivered. Everything is asked of the database, after the fact.

import type { Queryable } from '@pulsebox/postgres';

export type CheckName = 'lost' | 'phantom' | 'inverted' | 'unexplained';

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
         format('event %s (%s, xid %s, %L) was never delivered; %s', e.seq,
                case when e.key is null then 'no key' else format('%s, number %s', e.key, e.counter) end, e.xid, e.behaviour,
                coalesce(passed.by_whom, 'nothing after it was')) as offender
  from torture.emitted e
  left join lateral (
    select format('worker %s went past it in its batch %s, under token %s, with event %s',
                  d.worker, d.batch, d.token, d.position) as by_whom
    from torture.delivery d where d.position > e.seq order by d.id limit 1
  ) passed on true
  where not exists (select from torture.delivery d where d.position = e.seq)
  order by e.seq
  limit $1`;

const PHANTOM = `
  select count(*) over ()::float8 as count,
         format('event %s (%s) was delivered by worker %s in its batch %s, but never committed',
                d.position, coalesce(d.key, 'no key'), d.worker, d.batch) as offender
  from torture.delivery d
  where not exists (select from torture.emitted e where e.seq = d.position)
  order by d.id
  limit $1`;

const INVERTED = `
  select count(*) over ()::float8 as count,
         format('%s: number %s (event %s, xid %s, worker %s, batch %s) came after number %s', o.key, o.counter, o.position,
                e.xid, o.worker, o.batch, o.highest_before) as offender
  from (
    select f.*, max(counter) over (partition by key order by id rows between unbounded preceding and 1 preceding)
                  as highest_before
    from (
      select distinct on (position) id, position, key, counter, worker, batch
      from torture.delivery where key is not null
      order by position, id
    ) f
  ) o
  join torture.emitted e on e.seq = o.position
  where o.counter < o.highest_before
  order by o.id
  limit $1`;

/**
 * An event may be delivered again only by another holder of the lease than before, and only if the earlier of the two
 * holders lost the lease by its deadline while that very process was killed or frozen.
 */
const UNEXPLAINED = `
  select count(*) over ()::float8 as count,
         format('event %s was delivered again by worker %s (batch %s, token %s) after worker %s (batch %s, token %s), %s',
                again.position, again.worker, again.batch, again.token, again.before_worker, again.before_batch,
                again.before_token,
                case when again.token = again.before_token then 'under the same lease'
                     when next.token is null then 'which still holds the lease'
                     when next.previous_ran_out then 'whose lease ran out though it was neither killed nor frozen'
                     else 'which had given its lease back' end) as offender
  from (
    select d.*, lag(worker) over same as before_worker, lag(batch) over same as before_batch,
           lag(token) over same as before_token
    from torture.delivery d
    window same as (partition by position order by id)
  ) again
  join torture.reign earlier on earlier.token = least(again.token, again.before_token)
  left join torture.reign next on next.token = earlier.token + 1
  where again.before_token is not null
    and not (
      again.token <> again.before_token
      and coalesce(next.previous_ran_out, false)
      and exists (
        select from torture.mishap m
        where m.worker = earlier.worker and m.kind in ('kill', 'freeze')
          and m.began_at < next.began_at and coalesce(m.ended_at, 'infinity') > earlier.began_at
      )
    )
  order by again.id
  limit $1`;

export async function runChecks(db: Queryable): Promise<Check[]> {
  const checks: readonly [CheckName, string, string][] = [
    ['lost', 'committed and never delivered', LOST],
    ['phantom', 'delivered and never committed', PHANTOM],
    ['inverted', 'delivered before an earlier one of the same key', INVERTED],
    ['unexplained', 'delivered again though nobody had died', UNEXPLAINED],
  ];
  const results: Check[] = [];
  for (const [name, meaning, sql] of checks) {
    const { rows } = await db.query<{ count: number; offender: string }>(sql, [OFFENDERS_SHOWN]);
    results.push({ name, meaning, count: rows[0]?.count ?? 0, offenders: rows.map((row) => row.offender) });
  }
  return results;
}

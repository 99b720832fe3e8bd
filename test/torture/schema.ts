// The tables of the witnesses: what was committed, what was delivered, who held the lease, and what befell whom.

import type { Queryable } from '@pulsebox/postgres';

/** The names of the groups that read the log, each for itself. */
export function groupNames(groups: number): string[] {
  return Array.from({ length: groups }, (_, n) => `torture-${n + 1}`);
}

/** What a worker calls itself as the holder of a lease; the trigger below reads its number out of it. */
export function holderName(worker: number, pid: number): string {
  return `torture/${worker}/${pid}`;
}

const SCHEMA = `
  create schema torture;

  -- What order is kept for. Writers lock a row, count it up, and write the number into their event: for every key, the
  -- order of the numbers is the order in which the transactions held the lock.
  create table torture.key (
    key     text primary key,
    counter bigint not null default 0
  ) with (fillfactor = 50);

  -- What was really committed: written in the transaction of the event, so COMMIT decides about both, whatever the
  -- writer got to know about it.
  create table torture.emitted (
    seq       bigint primary key,
    key       text,
    counter   bigint,
    behaviour text not null,
    xid       xid8 not null default pg_current_xact_id()
  );

  -- What the workers' handlers were given. The order of the ids is the order of delivery.
  create table torture.delivery (
    id         bigint generated always as identity primary key,
    group_name text not null,
    lane       integer not null,
    position   bigint not null,
    key        text,
    counter    bigint,
    worker     integer not null,
    token      bigint not null,
    -- The worker's batches for this group are numbered from 1.
    batch      integer not null,
    -- Of the statement: one time for a batch.
    at         timestamptz not null default statement_timestamp()
  );
  create index delivery_position on torture.delivery (position, group_name);

  -- What befell a worker, or everybody, on the database's clock: from before it was done until after it had its effect.
  create table torture.mishap (
    id       integer generated always as identity primary key,
    worker   integer,
    kind     text not null,
    began_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
  );

  -- Who held a lease, by fencing token, and how the one before had ended: by its deadline, or by giving it back.
  create table torture.reign (
    group_name       text not null,
    lane             integer not null,
    token            bigint not null,
    worker           integer not null,
    began_at         timestamptz not null default clock_timestamp(),
    previous_ran_out boolean not null,
    primary key (group_name, lane, token)
  );
  create function torture.note_reign() returns trigger language plpgsql as $$
  begin
    -- A change of lanes moves tokens on without a holder.
    if new.holder is not null and (tg_op = 'INSERT' or new.token > old.token) then
      insert into torture.reign (group_name, lane, token, worker, previous_ran_out)
      values (split_part(new.name, '/', 2), split_part(new.name, '/', 3)::integer, new.token, split_part(new.holder, '/', 2)::integer,
              tg_op = 'UPDATE' and old.holder is not null);
    end if;
    return null;
  end $$;
  create trigger note_reign after insert or update on pulsebox.lease
    for each row execute function torture.note_reign();

  -- Every delivery of an event that its group had had before, and what explains it. Null: nothing does.
  --
  -- Either the earlier of the two holders lost the lease by its deadline while that very process was killed or frozen;
  -- where nobody was there to take over, one that wakes up too late gives it back itself, and reads anew.
  -- The lane may be another the second time, since lanes change: the two holders are told apart by lane and token.
  -- Or the batch was under way (delivered at most five seconds before, a freeze included) when its store, or the
  -- database, or the network was struck. A store of which only the answer was lost is no reason: it counts, and who
  -- is in doubt has to ask.
  create view torture.redelivery as
  select again.id, again.group_name, again.position, again.worker, again.lane, again.token, again.batch,
         again.before_worker, again.before_lane, again.before_token, again.before_batch, again.same_reign,
         next.token is not null as lease_ended, coalesce(next.previous_ran_out, false) as lease_ran_out,
         (select m.kind from torture.mishap m
          where m.kind in ('kill', 'freeze') and not again.same_reign and next.previous_ran_out
                and m.worker = earlier.worker
                and m.began_at < next.began_at and coalesce(m.ended_at, 'infinity') > earlier.began_at
             or m.kind = 'freeze' and not again.same_reign and m.worker = earlier.worker
                and again.before_at between m.began_at and m.ended_at + interval '1 s'
             or m.kind in ('crash', 'power cut', 'network away', 'network hung', 'store request lost', 'store cut off')
                and again.before_at between m.began_at - interval '5 s' and coalesce(m.ended_at, 'infinity')
                and again.at >= m.began_at
          order by m.kind in ('kill', 'freeze') desc, m.id desc limit 1) as explained_by
  from (
    select b.*, b.lane = b.before_lane and b.token = b.before_token as same_reign
    from (
      select d.*, lag(worker) over same as before_worker, lag(batch) over same as before_batch,
             lag(lane) over same as before_lane, lag(token) over same as before_token, lag(at) over same as before_at
      from torture.delivery d
      window same as (partition by group_name, position order by id)
    ) b
    where b.before_token is not null
  ) again
  cross join lateral (
    select * from torture.reign r
    where r.group_name = again.group_name
      and (r.lane = again.lane and r.token = again.token or r.lane = again.before_lane and r.token = again.before_token)
    order by r.began_at, r.token limit 1
  ) earlier
  left join lateral (
    select * from torture.reign r
    where r.group_name = again.group_name and r.lane = earlier.lane and r.token > earlier.token
    order by r.token limit 1
  ) next on true`;

/** Besides the keys that writers share there is one that only the large transaction locks. */
const KEYS = `
  insert into torture.key (key)
  select 'key:' || n from generate_series(1, $1) n
  union all select 'large'`;

export const SHARED_KEYS = 40;

export async function createWitnesses(db: Queryable): Promise<void> {
  await db.query(SCHEMA);
  await db.query(KEYS, [SHARED_KEYS]);
}

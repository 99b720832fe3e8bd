// The tables of the witnesses: what was committed, what was delivered or refused, who held the lease, what befell whom.

import type { Queryable } from '@pulsebox/postgres';
import { PARKING_WITNESS } from './parking-witness.ts';

/** The names of the groups that read the log, each for itself. */
export function groupNames(groups: number): string[] {
  return Array.from({ length: groups }, (_, n) => `torture-${n + 1}`);
}

/** What a worker calls its connections; the witness of parking reads its number out of it. */
export function applicationName(worker: number): string {
  return `torture-${worker}`;
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
    -- What it does to its handlers (trials.ts). Null: nothing, it is a good event.
    trial     jsonb,
    xid       xid8 not null default pg_current_xact_id()
  );
  create index emitted_key on torture.emitted (key, counter);

  -- What the workers' handlers took. The order of the ids is the order of delivery.
  create table torture.delivery (
    id         bigint generated always as identity primary key,
    group_name text not null,
    lane       integer not null,
    position   bigint not null,
    key        text,
    counter    bigint,
    worker     integer not null,
    token      bigint not null,
    -- The worker's calls of the handler for this group are numbered from 1, and so are the ticks that they belong to: a
    -- batch that fails is handed over again in parts, and only the whole is stored.
    batch      integer not null,
    tick       integer not null,
    -- Of the statement: one time for a batch.
    at         timestamptz not null default statement_timestamp()
  );
  create index delivery_position on torture.delivery (position, group_name);

  -- What the handlers refused: an attempt at the event failed, by its own nature.
  create table torture.refusal (
    group_name text not null,
    position   bigint not null,
    worker     integer not null,
    batch      integer not null,
    at         timestamptz not null default clock_timestamp()
  );
  create index refusal_position on torture.refusal (group_name, position);

  -- Calls of which nothing may be stored as they are: the handler threw, its sink was away, or its time was over.
  create table torture.failed_call (
    group_name text not null,
    worker     integer not null,
    batch      integer not null,
    tick       integer not null,
    kind       text not null,
    at         timestamptz not null default clock_timestamp()
  );
  create index failed_call_tick on torture.failed_call (group_name, worker, tick);

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
${PARKING_WITNESS}
  -- Every delivery of an event that its group had had before, and what explains it. Null: nothing does.
  --
  -- Either the earlier of the two holders lost the lease by its deadline while that very process was killed, by the run
  -- or by an event, or frozen; where nobody was there to take over, one that wakes up too late gives it back itself, and
  -- reads anew. The lane may be another the second time, since lanes change: the two holders are told apart by lane and
  -- token.
  -- Or the call that it was delivered in failed, or the tick that this call was part of: the batch comes again, as a
  -- whole or in parts.
  -- Or the batch was under way (delivered at most five seconds before, a freeze included) when its store, or the
  -- database, or the network was struck. A store of which only the answer was lost is no reason: it counts, and who
  -- is in doubt has to ask. Where events are parked or settled it is none of its own: it is part of a transaction,
  -- which is rolled back then. Of that it is the COMMIT whose lost answer is no reason.
  create view torture.redelivery as
  select again.id, again.group_name, again.position, again.worker, again.lane, again.token, again.batch,
         again.before_worker, again.before_lane, again.before_token, again.before_batch, again.same_reign,
         next.token is not null as lease_ended, coalesce(next.previous_ran_out, false) as lease_ran_out,
         coalesce((
          select f.kind from torture.failed_call f
          where f.group_name = again.group_name and f.worker = again.before_worker and f.tick = again.before_tick
                and (f.kind <> 'throw' or f.batch = again.before_batch)
          limit 1
         ), (
          select m.kind from torture.mishap m
          where m.kind in ('kill', 'freeze', 'killer event') and not again.same_reign and next.previous_ran_out
                and m.worker = earlier.worker
                and m.began_at < next.began_at and coalesce(m.ended_at, 'infinity') > earlier.began_at
             or m.kind = 'freeze' and not again.same_reign and m.worker = earlier.worker
                and again.before_at between m.began_at and m.ended_at + interval '1 s'
             or m.kind in ('crash', 'power cut', 'network away', 'network hung', 'store request lost', 'store cut off',
                           'park request lost', 'park cut off', 'park answer lost',
                           'settle request lost', 'settle cut off', 'settle answer lost',
                           'outcome request lost', 'outcome cut off')
                and again.before_at between m.began_at - interval '5 s' and coalesce(m.ended_at, 'infinity')
                and again.at >= m.began_at
          order by m.kind in ('kill', 'freeze', 'killer event') desc, m.id desc limit 1
         )) as explained_by
  from (
    select b.*, b.lane = b.before_lane and b.token = b.before_token as same_reign
    from (
      select d.*, lag(worker) over same as before_worker, lag(batch) over same as before_batch,
             lag(tick) over same as before_tick, lag(lane) over same as before_lane,
             lag(token) over same as before_token, lag(at) over same as before_at
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

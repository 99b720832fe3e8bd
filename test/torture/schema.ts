// The tables of the witnesses: what was committed, what was delivered, who held the lease, and what befell whom.

import type { Queryable } from '@pulsebox/postgres';
import { laneLeaseName } from '@pulsebox/outbox';

export const GROUP = 'torture';

/** What a worker calls itself as the holder of a lease; the trigger below reads its number out of it. */
export function holderName(worker: number, pid: number): string {
  return `torture/${worker}/${pid}`;
}

/** The lease of the one lane that is tortured. */
export const LEASE = laneLeaseName({ group: GROUP, lane: 0 });

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
    id       bigint generated always as identity primary key,
    position bigint not null,
    key      text,
    counter  bigint,
    worker   integer not null,
    token    bigint not null,
    -- The worker's batches are numbered from 1.
    batch    integer not null
  );
  create index delivery_position on torture.delivery (position);

  -- What befell a worker, on the database's clock: from before the signal was sent until after it had its effect.
  create table torture.mishap (
    id       integer generated always as identity primary key,
    worker   integer not null,
    kind     text not null,
    began_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
  );

  -- Who held the lease, by fencing token, and how the one before had ended: by its deadline, or by giving it back.
  create table torture.reign (
    token                bigint primary key,
    worker               integer not null,
    began_at             timestamptz not null default clock_timestamp(),
    previous_ran_out     boolean not null
  );
  create function torture.note_reign() returns trigger language plpgsql as $$
  begin
    if tg_op = 'INSERT' or new.token > old.token then
      insert into torture.reign (token, worker, previous_ran_out)
      values (new.token, split_part(new.holder, '/', 2)::integer, tg_op = 'UPDATE' and old.holder is not null);
    end if;
    return null;
  end $$;
  create trigger note_reign after insert or update on pulsebox.lease
    for each row execute function torture.note_reign()`;

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

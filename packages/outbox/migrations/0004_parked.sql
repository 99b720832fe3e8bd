-- Failed events. They are set aside in the transaction that moves the cursor past them, so that their lane goes on.

create table outbox.parked (
  group_name       text not null,
  -- Of the event in the log. Order within a key is the order of positions, here as there.
  position         bigint not null,
  -- The event itself: its partition may be dropped while it waits here.
  topic            text not null,
  key              text,
  payload          jsonb not null,
  headers          jsonb not null,
  created_at       timestamptz not null,
  -- `parked`: it is tried again, or waits behind another of its key. `dead`: until a person replays or discards it.
  state            text not null default 'parked' check (state in ('parked', 'dead')),
  -- Attempts started since it was parked or replayed; counted before the handler runs, so that one which ends the
  -- process counts, too. 0: it failed at nothing itself, and waits behind another of its key.
  attempts         integer not null default 0,
  -- Every error of its history, replays included: [{at, attempt, reason, retryable, workerEnded?}]. `workerEnded`: the
  -- worker did not live to see the end of the attempt. While the last one has it, the event is tried alone.
  errors           jsonb not null default '[]' check (jsonb_typeof(errors) = 'array'),
  parked_at        timestamptz not null default clock_timestamp(),
  -- Null: it waits behind another of its key, or is dead.
  next_attempt_at  timestamptz,
  -- An attempt has begun at this time and has not been heard of since. Null: none is under way.
  attempting_since timestamptz,
  -- When it failed last; null: never.
  failed_at        timestamptz,

  -- No foreign keys: the event's partition may go, and the group's row must not be locked for every failure.
  primary key (group_name, position)
);

-- The head of a key, whether a key has parked events, and what waits behind a dead letter.
create index parked_key on outbox.parked (group_name, key, position);

-- What is due. Dead letters and events behind a head are not in it.
create index parked_due on outbox.parked (group_name, next_attempt_at) where next_attempt_at is not null;

-- Dead letters by age: for lists, and for the gauges, which count them every few seconds.
create index parked_dead on outbox.parked (group_name, failed_at) where state = 'dead';

-- Attempts that nobody lived to see the end of: looked for once, when a lane is opened.
create index parked_attempting on outbox.parked (group_name) where attempting_since is not null;

comment on table outbox.parked is
  'Events that a consumer group could not deliver yet. Use `pulsebox dead` rather than changing rows by hand.';

-- Whoever removes the first event of a key (delivered, discarded, by hand) leaves the next one at the head: it becomes
-- due. A trigger and not a part of each statement that removes: its look has a snapshot of its own, so it sees what was
-- parked behind the head while the removal waited for that transaction's lock on it.
create function outbox.release_next_of_key() returns trigger language plpgsql as $$
begin
  update outbox.parked p set next_attempt_at = clock_timestamp()
  from (select distinct group_name, key from removed where key is not null) k
  cross join lateral (
    select h.position from outbox.parked h
    where h.group_name = k.group_name and h.key = k.key
    order by h.position limit 1
  ) head
  where p.group_name = k.group_name and p.position = head.position
    and p.state = 'parked' and p.next_attempt_at is null;
  return null;
end $$;

create trigger release_next_of_key after delete on outbox.parked
  referencing old table as removed
  for each statement execute function outbox.release_next_of_key();

-- A replayed event is due at once: a reader that sleeps is woken, as by a producer.
create trigger wake_readers after update of state on outbox.parked
  for each row when (old.state = 'dead' and new.state = 'parked')
  execute function outbox.wake_readers();

-- Attempts at an event that may have ended its worker: written before the handler gets it, and only by a worker that
-- took a lane over from one that died, or whose batch ran past its deadline.
create table outbox.attempt (
  group_name text not null,
  lane       integer not null,
  position   bigint not null,
  -- Attempts started in a row without an end. 0: whole batches are still handed over from this position on; if this
  -- worker dies as well, the next one hands events over one by one.
  attempts   integer not null,
  started_at timestamptz not null default clock_timestamp(),
  primary key (group_name, lane)
);

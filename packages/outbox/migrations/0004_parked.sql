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
  -- Every error of its history, replays included: [{at, attempt, reason, retryable}].
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

comment on table outbox.parked is
  'Events that a consumer group could not deliver yet. Use `pulsebox dead` rather than changing rows by hand.';

-- Attempts at an event that may have ended its worker: written before the handler gets it, and only by a worker that
-- took a lane over from one that died, or whose batch ran past its deadline.
create table outbox.attempt (
  group_name text not null,
  lane       integer not null,
  position   bigint not null,
  -- Attempts started in a row without an end.
  attempts   integer not null,
  started_at timestamptz not null default clock_timestamp(),
  primary key (group_name, lane)
);

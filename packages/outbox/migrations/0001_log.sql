-- The log: events, written once by producers and never touched again; and where each consumer group stands.

create schema outbox;

-- CACHE 1: a session that hands out numbers it fetched long ago would put an event behind readers for good.
create sequence outbox.event_seq as bigint cache 1;

create table outbox.event (
  -- The writing transaction. First column, so that its default is evaluated before that of seq: whoever holds a seq
  -- has had an xid before it. The rule for late events rests on this.
  xid        xid8 not null default pg_current_xact_id(),
  -- The position in the log. Handed out before commit, so it may become visible after higher ones have.
  seq        bigint not null default nextval('outbox.event_seq'),
  topic      text not null,
  -- What order is kept for. Null: this event is in no order with any other.
  key        text,
  payload    jsonb not null,
  headers    jsonb not null default '{}',
  -- When the row was written, not when it was committed.
  created_at timestamptz not null default clock_timestamp(),

  -- The length by itself: `{0,199}` in the expression costs 17 us a row, three quarters of an insert; this 0.1 us.
  constraint event_topic_form check (topic ~ '^[A-Za-z0-9][A-Za-z0-9._:-]*$' and length(topic) <= 200),
  constraint event_key_length check (octet_length(key) <= 1000),
  constraint event_headers_object check (jsonb_typeof(headers) = 'object'),

  -- New events: `seq > position order by seq`. Also the partition key.
  constraint event_pkey primary key (seq)
) partition by range (seq);

-- Late events: probes for one transaction, or for a range of them, in seq order. Both columns only ever grow, so
-- inserts go to the right edge of the index.
create index event_xid_seq on outbox.event (xid, seq);

comment on table outbox.event is
  'The transactional log. Insert (topic, key, payload, headers) in the transaction of your business rows; never update or delete.';

-- Partitions are made ahead by workers, long before the sequence reaches them, and dropped whole: never a DELETE.
create function outbox.create_partitions(ahead integer, size bigint default 10000000)
returns integer language plpgsql as $$
declare
  -- last_value is 1 before the first call of nextval, too: the first partition covers it either way.
  current_seq bigint := (select last_value from outbox.event_seq);
  lower_bound bigint;
  made integer := 0;
begin
  -- Two workers that make partitions at once: the second waits, then finds them made.
  perform pg_advisory_xact_lock(8101914125081123);
  loop
    select coalesce(max(split_part(c.relname, '_', 3)::bigint), 0) into lower_bound
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'outbox.event'::regclass;
    exit when lower_bound > current_seq + ahead * size;
    -- Named after its exclusive upper bound, which is where the next one starts. ATTACH takes a lighter lock on the
    -- log than CREATE ... PARTITION OF: producers go on inserting.
    execute format(
      'create table outbox.event_until_%s (like outbox.event including defaults including constraints including storage)',
      lower_bound + size);
    execute format(
      'alter table outbox.event attach partition outbox.event_until_%s for values from (%s) to (%s)',
      lower_bound + size, lower_bound, lower_bound + size);
    made := made + 1;
  end loop;
  return made;
end $$;

select outbox.create_partitions(2);

create table outbox.consumer_group (
  name       text primary key check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
  -- How many slices its keys are hashed into. One for most groups.
  lanes      integer not null default 1 check (lanes between 1 and 1024),
  created_at timestamptz not null default now()
);

-- Where each lane of each group stands. One row a batch is added and old ones are pruned, instead of one row that is
-- updated: under a held xmin (an hour-long report, a forgotten replication slot) every version of an updated row must
-- be walked to find the last, while a descending index probe finds the newest of added rows at once.
create table outbox.cursor (
  -- No foreign key: it would lock the group's row once a batch, and rows are only added for groups that are there.
  group_name      text not null,
  lane            integer not null default 0,
  -- The fencing token of the lease under which it was stored, and the number of the batch under that lease.
  -- The cursor in force is the greatest (token, batch): what a holder that was replaced still manages to store is void.
  token           bigint not null,
  batch           bigint not null,
  -- (P, S, U): every event with seq <= P that S saw is delivered, no event with seq > P is, and U is above the xid of
  -- every transaction that was open at S and has an event with seq <= P.
  position        bigint not null,
  snapshot        pg_snapshot not null,
  ceiling         xid8 not null,
  -- While more late events than fit into one batch are delivered: the snapshot they are read under, the xid that
  -- becomes U when they are done, and the last seq of them that is delivered. Null otherwise.
  frozen_snapshot pg_snapshot,
  frozen_ceiling  xid8,
  frozen_position bigint,
  -- Events delivered to this lane since the group was made, redeliveries included. For people.
  delivered       bigint not null default 0,
  stored_at       timestamptz not null default clock_timestamp(),

  constraint cursor_frozen_whole check (num_nulls(frozen_snapshot, frozen_ceiling, frozen_position) in (0, 3)),
  primary key (group_name, lane, token, batch)
)
with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1);

-- Waking readers. A NOTIFY in every producing transaction would serialise their commits on one lock, so producers
-- notify only while a reader sleeps. A reader that goes to sleep says until when, in milliseconds since 1970, in this
-- sequence: reading it sees the present value rather than that of the snapshot, and setting it leaves no dead row
-- behind. Unlogged: neither WAL nor an xid. Nothing is lost with it, a reader also looks by itself now and then.
create unlogged sequence outbox.sleeping_until as bigint minvalue 0 start 0;

-- One row: what workers and the trigger below agree on.
create table outbox.setting (
  singleton      boolean primary key default true check (singleton),
  notify_channel text not null default 'outbox_event' check (notify_channel ~ '^[a-z_][a-z0-9_]{0,62}$')
);
insert into outbox.setting default values;

create function outbox.wake_readers() returns trigger language plpgsql as $$
begin
  if (select last_value from outbox.sleeping_until) > extract(epoch from clock_timestamp()) * 1000 then
    perform pg_notify((select notify_channel from outbox.setting), '');
  end if;
  return null;
end $$;

create trigger wake_readers after insert on outbox.event
  for each statement execute function outbox.wake_readers();

create function outbox.emit(topic text, payload jsonb, key text default null, headers jsonb default '{}')
returns bigint language plpgsql as $$
declare
  emitted bigint;
begin
  insert into outbox.event (topic, key, payload, headers)
    values (emit.topic, emit.key, emit.payload, coalesce(emit.headers, '{}'))
    returning event.seq into emitted;
  return emitted;
end $$;

comment on function outbox.emit is
  'Adds an event to the log in the present transaction and returns its position. Lock the row that the event is about first (update it, or select ... for update), then emit.';

-- A role that may only emit. Grant it to the role of your application. Roles belong to the whole server, so it may be
-- there already, and making one needs CREATEROLE: without it the migration goes on, and `pulsebox doctor` says so.
do $$
begin
  create role outbox_emitter nologin;
exception
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then
    raise warning 'role outbox_emitter was not made: the migrating role lacks CREATEROLE';
end $$;

do $$
begin
  if exists (select from pg_roles where rolname = 'outbox_emitter') then
    grant usage on schema outbox to outbox_emitter;
    grant insert (topic, key, payload, headers) on outbox.event to outbox_emitter;
    -- For `returning seq`; nobody reads another's payload with it.
    grant select (seq) on outbox.event to outbox_emitter;
    grant usage on sequence outbox.event_seq to outbox_emitter;
    grant select on sequence outbox.sleeping_until to outbox_emitter;
    grant select on outbox.setting to outbox_emitter;
    grant execute on function outbox.emit to outbox_emitter;
  end if;
end $$;

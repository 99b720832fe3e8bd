-- The last partition of the log has no end, so that no insert ever finds none: with no worker alive to make partitions
-- ahead, events beyond them go there, however many they are.
--
-- Not a default partition: for one of those every read would be planned, and the order of partitions would be lost,
-- by which a read of the log is one index scan after the other. The price is that a new partition has to be cut from
-- the overflow under an access exclusive lock on the log, for a moment, as a drop is; ordinarily once in ten million
-- events, while the overflow is empty, and with a whole partition's time to find that moment.

-- Makes partitions until there is one beyond that in use, below the overflow; makes the overflow where there is none.
-- Takes light locks alone: producers go on inserting. Where the overflow begins it makes nothing: see cut_overflow.
create or replace function outbox.create_partitions(ahead integer, size bigint default 10000000)
returns integer language plpgsql as $$
declare
  -- last_value is 1 before the first call of nextval, too: the first partition covers it either way.
  current_seq bigint := (select last_value from outbox.event_seq);
  overflow_at bigint;
  starts_at bigint;
  ends_at bigint;
  made integer := 0;
begin
  -- Two workers that make partitions at once: the second waits, then finds them made.
  perform pg_advisory_xact_lock(8101914125081123);
  select p.lower_bound into overflow_at from outbox.partition p where p.upper_bound is null;
  loop
    -- Without any the log begins where the sequence stands.
    select coalesce(max(p.upper_bound), current_seq / size * size) into starts_at from outbox.partition p;
    exit when starts_at > current_seq + ahead * size or starts_at >= overflow_at;
    ends_at := least(starts_at + size, overflow_at);
    -- Named after its exclusive upper bound, which is where the next one starts. ATTACH takes a lighter lock on the
    -- log than CREATE ... PARTITION OF: producers go on inserting.
    execute format(
      'create table outbox.event_until_%s (like outbox.event including defaults including constraints including storage)',
      ends_at);
    execute format(
      'alter table outbox.event attach partition outbox.event_until_%s for values from (%s) to (%s)',
      ends_at, starts_at, ends_at);
    made := made + 1;
  end loop;
  if overflow_at is null then
    create table outbox.event_overflow (like outbox.event including defaults including constraints including storage);
    execute format(
      'alter table outbox.event attach partition outbox.event_overflow for values from (%s) to (maxvalue)', starts_at);
  end if;
  return made;
end $$;

select outbox.create_partitions(0);

-- Gives the overflow an end, by which it is a partition like any other, and puts an empty one behind it. Says what it did:
-- `cut`; `busy` (a transaction uses the log just now; try again later); `unchecked` (see below); `none`.
--
-- No row moves. PostgreSQL has to know that none is beyond the new end, and looks at every row for that, under the lock.
-- While there are few that is nothing. When many came while no worker ran, a constraint is put on the overflow first, as
-- yet unchecked, with room for two partitions below it; whoever gets `unchecked` checks it, which locks nobody out:
--
--   alter table outbox.event_overflow validate constraint event_overflow_end
--
-- and calls this again. Should that not come to an end before there is less than a partition's room, the constraint is
-- made anew, further on.
--
-- What sealing and dropping rest on holds for it as for the others: an end is above every number handed out, so whoever
-- has a number below it that is not handed out yet will have an xid before.
create function outbox.cut_overflow(size bigint default 10000000) returns text
language plpgsql set lock_timeout = '100ms' as $$
declare
  overflow record;
  checked record;
  handed_out bigint;
  ends_at bigint;
  users text[];
begin
  if not pg_try_advisory_xact_lock(8101914125081123) then
    return 'busy';
  end if;
  select p.name, p.lower_bound, pg_relation_size(p.name::regclass) > 64 * 1024 * 1024 as large into overflow
    from outbox.partition p where p.upper_bound is null;
  if not found then
    return 'none';
  end if;
  select substring(pg_get_constraintdef(c.oid) from '([0-9]+)')::bigint as ends_at, c.convalidated as valid into checked
    from pg_constraint c where c.conrelid = overflow.name::regclass and c.conname = 'event_overflow_end';
  select last_value into handed_out from outbox.event_seq;
  begin
    if overflow.large and checked.valid is not true then
      if checked.ends_at is null or checked.ends_at < handed_out + size then
        execute format('alter table %s drop constraint if exists event_overflow_end, '
                       'add constraint event_overflow_end check (seq < %s) not valid',
                       overflow.name, handed_out + 2 * size + 1);
      end if;
      return 'unchecked';
    end if;
    -- Whoever comes while an access exclusive lock is waited for stands behind it: see drop_oldest_partition.
    select array_agg(virtualtransaction) into users from pg_locks
      where relation = 'outbox.event'::regclass and granted and pid is distinct from pg_backend_pid()
        and database = (select d.oid from pg_database d where d.datname = current_database());
    perform pg_sleep(0.1);
    if exists (
      select from pg_locks
      where relation = 'outbox.event'::regclass and granted and virtualtransaction = any (users)
        and database = (select d.oid from pg_database d where d.datname = current_database())
    ) then
      return 'busy';
    end if;
    lock table outbox.event in access exclusive mode;
    -- Under the lock nobody inserts. Rows may have numbers above the sequence only if somebody chose them by hand.
    execute format('select greatest(s.last_value, (select max(seq) from %s)) from outbox.event_seq s', overflow.name)
      into handed_out;
    ends_at := coalesce(checked.ends_at,
                        overflow.lower_bound + size * greatest(1, (handed_out - overflow.lower_bound) / size + 1));
    execute format('alter table outbox.event detach partition %s', overflow.name);
    execute format('alter table %s rename to event_until_%s', overflow.name, ends_at);
    execute format('alter table outbox.event attach partition outbox.event_until_%s for values from (%s) to (%s)',
                   ends_at, overflow.lower_bound, ends_at);
    execute format('alter table outbox.event_until_%s drop constraint if exists event_overflow_end', ends_at);
    create table outbox.event_overflow (like outbox.event including defaults including constraints including storage);
    execute format('alter table outbox.event attach partition outbox.event_overflow for values from (%s) to (maxvalue)',
                   ends_at);
  exception when lock_not_available then
    return 'busy';
  end;
  return 'cut';
end $$;

-- Time and space: partitions are dropped once nobody needs them, and a log that was restored into another cluster is
-- read on without taking that cluster's transaction ids for its own.

-- The partitions of the log, by the bounds that the catalogue has: a name proves nothing.
create view outbox.partition as
  select c.oid::regclass::text as name,
         substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''?(-?[0-9]+)')::bigint as lower_bound,
         substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''?(-?[0-9]+)')::bigint as upper_bound
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'outbox.event'::regclass;

-- A partition is sealed when its last number has been handed out: from then on no transaction begins to write to it.
create table outbox.sealed_partition (
  -- Exclusive: the partition holds numbers below it.
  upper_bound bigint primary key,
  -- An xid assigned after the last number was seen to be handed out. Whoever has a number of the partition had an xid
  -- before it, so every transaction that can have an event there is below the horizon.
  horizon     xid8 not null,
  -- No event of the partition was written later, though one may have been committed later.
  sealed_at   timestamptz not null default clock_timestamp()
);

-- Returns how many were sealed. Not inside a transaction that has an xid: it would be older than the numbers.
create function outbox.seal_partitions() returns integer language plpgsql as $$
declare
  handed_out bigint;
  sealed integer;
begin
  if pg_current_xact_id_if_assigned() is not null then
    raise exception 'outbox.seal_partitions needs a transaction of its own';
  end if;
  -- Read before the horizon is assigned below: the whole proof rests on it.
  select case when is_called then last_value else last_value - 1 end into handed_out from outbox.event_seq;
  insert into outbox.sealed_partition (upper_bound, horizon)
    select p.upper_bound, pg_current_xact_id() from outbox.partition p
    where p.upper_bound - 1 <= handed_out
      and not exists (select from outbox.sealed_partition s where s.upper_bound = p.upper_bound)
    on conflict do nothing;
  get diagnostics sealed = row_count;
  return sealed;
end $$;

-- Drops the oldest partition if it was sealed at least `keep_for` ago and nobody needs it any more; says why not
-- otherwise: `kept` (too young), `open` (a transaction that may still commit into it), `pinned` (a lease whose name has
-- one of the prefixes: somebody reads the log from a cursor of his own), `behind` (a group has not passed it; also when
-- there is no group at all), `busy` (a transaction uses the log just now; try again later).
--
-- Why nothing is lost. Let H be the horizon: all transactions with events in the partition have xids below H.
-- 1. xmin(now) >= H: all of them have ended, prepared ones included. What is in the partition is final.
-- 2. A lane's cursor (P, S, U) has P at or above the partition's last number and xmin(S) >= H: all of them had ended
--    when S was taken, so S saw every event of the partition; the cursor says that what S saw up to P is delivered.
--    A lane that pages through late events has not delivered all that its S did not see: it passes nothing.
-- 3. A cursor that is taken from the log later (a new group at the end, a rebuild that gets its pinning lease after we
--    looked) has a snapshot younger than (1), which sees all of the partition. Seeking takes the lock taken here.
--
-- How long producers wait: DROP takes an access exclusive lock on the log, and whoever comes while it is waited for
-- stands behind it, so it is waited for no longer than lock_timeout. Where a transaction has used the log for 100 ms
-- already the wait would most likely be in vain, and is not begun. DETACH CONCURRENTLY takes lighter locks, but waits
-- for every transaction that uses the log without an end that a pooled connection could set, and leaves a partition
-- half detached when it is interrupted.
create function outbox.drop_oldest_partition(keep_for interval, pinned_by text[] default '{}')
returns table (outcome text, partition text, blocked_by text) language plpgsql set lock_timeout = '100ms' as $$
declare
  oldest record;
  users text[];
begin
  if not pg_try_advisory_xact_lock(8101914125081123) then
    return query select 'busy', null::text, null::text;
    return;
  end if;
  select p.name, p.upper_bound, s.horizon into oldest
    from outbox.partition p join outbox.sealed_partition s using (upper_bound)
    -- The oldest or none: what is kept of the log is one piece.
    where p.upper_bound = (select min(every.upper_bound) from outbox.partition every)
      and s.sealed_at <= clock_timestamp() - keep_for;
  if not found then
    return query select 'kept', null::text, null::text;
    return;
  end if;
  if pg_snapshot_xmin(pg_current_snapshot()) < oldest.horizon then
    return query select 'open', oldest.name, null::text;
    return;
  end if;
  select l.name into blocked_by from pulsebox.lease l
    where l.expires_at > clock_timestamp() and exists (select from unnest(pinned_by) prefix where starts_with(l.name, prefix))
    order by l.name limit 1;
  if found then
    return query select 'pinned', oldest.name, blocked_by;
    return;
  end if;
  if not exists (select from outbox.consumer_group) then
    return query select 'behind', oldest.name, null::text;
    return;
  end if;
  select g.name into blocked_by
    from outbox.consumer_group g
    cross join lateral generate_series(0, g.lanes - 1) lane(n)
    left join lateral (
      select c.position, c.snapshot, c.frozen_snapshot from outbox.cursor c
      where c.group_name = g.name and c.lane = lane.n
      order by c.token desc, c.batch desc limit 1
    ) c on true
    where (c.position >= oldest.upper_bound - 1 and c.frozen_snapshot is null
           and pg_snapshot_xmin(c.snapshot) >= oldest.horizon) is not true
    order by g.name limit 1;
  if found then
    return query select 'behind', oldest.name, blocked_by;
    return;
  end if;
  select array_agg(virtualtransaction) into users from pg_locks
    where relation = 'outbox.event'::regclass and granted and pid is distinct from pg_backend_pid()
      and database = (select d.oid from pg_database d where d.datname = current_database());
  perform pg_sleep(0.1);
  if exists (
    select from pg_locks
    where relation = 'outbox.event'::regclass and granted and virtualtransaction = any (users)
      and database = (select d.oid from pg_database d where d.datname = current_database())
  ) then
    return query select 'busy', oldest.name, null::text;
    return;
  end if;
  begin
    execute format('drop table %s', oldest.name);
  exception when lock_not_available then
    return query select 'busy', oldest.name, null::text;
    return;
  end;
  delete from outbox.sealed_partition s where s.upper_bound = oldest.upper_bound;
  return query select 'dropped', oldest.name, null::text;
end $$;

-- Transaction ids belong to a cluster. In a dump that is restored elsewhere, event rows and cursors carry those of
-- another, which the new cluster will assign a second time.
alter table outbox.setting
  -- The cluster whose xids the log carries from the floor on. A promoted replica has the same one, and the same xids.
  add column system_identifier bigint,
  -- The last number that was handed out elsewhere. Events up to it were all committed when they were restored: none of
  -- them is ever late, whatever their xid says. 0: the log was born here.
  add column era_floor bigint not null default 0;
update outbox.setting set system_identifier = (select c.system_identifier from pg_control_system() c);

-- Whether the xids of the log are another cluster's: by the identifier, or, where a copied data directory has the same
-- one, by a committed event whose transaction this cluster has not begun yet.
create function outbox.restored_elsewhere() returns boolean language sql as $$
  select s.system_identifier is distinct from (select c.system_identifier from pg_control_system() c)
      or coalesce((select e.xid from outbox.event e where e.seq > s.era_floor order by e.seq desc limit 1)
                  >= pg_snapshot_xmax(pg_current_snapshot()), false)
  from outbox.setting s
$$;

-- Carries on after a restore. Returns whether there was anything to do; to be called in a transaction of its own.
--
-- With the lock on the log nobody writes to it, so every event up to the floor is visible now and final: the restored
-- ones, and those written here before anybody noticed.
-- 1. What a cursor (P, S, U) has not delivered up to P are the rows that S did not see. Rows up to P came with the dump,
--    since P is older than it: S, U and their xids are of one cluster, and the rule for late events holds among them.
--    They become a frozen page under a snapshot that sees everything: delivered first, in the order of their numbers.
--    A page that was under way begins anew: events of it may be delivered again, none is lost.
-- 2. Behind the page stands (P, everything, no ceiling): nothing is late, the next read takes a snapshot of this
--    cluster. Its late events are sought above the floor alone, where all xids are this cluster's.
-- 3. Tokens move on, so that whoever holds a lane with an old cursor in memory stores nothing any more.
create function outbox.rebase_after_restore() returns boolean language plpgsql set lock_timeout = '5s' as $$
declare
  floor bigint;
begin
  perform from outbox.setting for update;
  if not outbox.restored_elsewhere() then
    return false;
  end if;
  lock table outbox.event in share mode;
  select case when is_called then last_value else 0 end into floor from outbox.event_seq;
  update pulsebox.lease set token = token + 1, holder = null, expires_at = null, wanted_by = null
    where starts_with(name, 'outbox/');
  insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling,
                             frozen_snapshot, frozen_ceiling, frozen_position, delivered)
    select distinct on (c.group_name, c.lane) c.group_name, c.lane, c.token, c.batch + 1, c.position, c.snapshot, c.ceiling,
           '9223372036854775807:9223372036854775807:', '1', 0, c.delivered
    from outbox.cursor c
    order by c.group_name, c.lane, c.token desc, c.batch desc;
  -- Horizons are xids, too.
  delete from outbox.sealed_partition;
  update outbox.setting
    set era_floor = floor, system_identifier = (select c.system_identifier from pg_control_system() c);
  return true;
end $$;

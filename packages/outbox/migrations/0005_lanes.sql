-- Lanes: the slices in which several workers share a group, and how their number changes while they read.

-- The lane of an event: those with a key by its hash, so that one lane has all events of a key; those without by number.
--
-- PostgreSQL stakes hash partitions, and hash indexes that pg_upgrade carries over, on hashtextextended: it stays the
-- same on one kind of machine and encoding. A dump may be restored on another (byte order, encoding); what
-- outbox.setting remembers below tells. md5 would be the same everywhere, at 0.6 us in place of 0.03 us for each row
-- that a lane looks at, and fails where OpenSSL runs in FIPS mode.
-- One expression, so that the planner puts it in place of the call.
create function outbox.lane_of(key text, seq bigint, lanes integer) returns integer
language sql immutable parallel safe as $$
  select ((case when key is null then seq else hashtextextended(key, 0) & 9223372036854775807 end) % lanes)::integer
$$;

comment on function outbox.lane_of is
  'The lane that delivers an event, of a group with so many lanes. Events of one key are in one lane.';

alter table outbox.setting
  -- What lane_of rests on: a known text's hash, and the encoding that texts are hashed in.
  add column lane_hash text;
update outbox.setting set lane_hash = hashtextextended('outbox', 0) || ' ' || getdatabaseencoding();

-- A change of a group's lanes that is under way: the number wished for, and the barrier C* = (P*, S*, U*), at which
-- every old lane stops and every new one starts. Null: none is. Set while all lanes are held, so no batch is in flight.
alter table outbox.consumer_group
  add column resize_lanes    integer check (resize_lanes between 1 and 1024),
  -- P*, the greatest position of the lanes' cursors: no event behind it has been delivered by any of them.
  add column resize_position bigint,
  -- S*: the snapshot of the statement that set the barrier; U*: the xid of its transaction, assigned after S*.
  add column resize_snapshot pg_snapshot,
  add column resize_ceiling  xid8,
  add constraint consumer_group_resize_whole
    check (num_nulls(resize_lanes, resize_position, resize_snapshot, resize_ceiling) in (0, 4));

-- One change of a group at a time, until the transaction ends. An advisory lock, since locking the row would assign an
-- xid, and one that is older than the barrier's snapshot is no ceiling.
create function outbox.lock_group("group" text) returns void language sql as $$
  select pg_advisory_xact_lock(1870095992, hashtext("group"))
$$;

-- The newest cursor of each lane of a group.
create function outbox.lane_cursors("group" text, lanes integer) returns setof outbox.cursor language sql stable as $$
  select c.* from generate_series(0, lanes - 1) lane(n)
  cross join lateral (
    select * from outbox.cursor where group_name = "group" and lane = lane.n order by token desc, batch desc limit 1
  ) c
$$;

-- Gives a group its new lanes, all at one cursor: that of a barrier which all its old lanes have reached, or one that a
-- seek has moved them to. The caller has the group's lock, and nothing is in flight.
create function outbox.start_lanes("group" text, new_lanes integer, at_position bigint, at_snapshot pg_snapshot, at_ceiling xid8)
returns void language plpgsql as $$
#variable_conflict use_column
declare
  old_lanes integer := (select g.lanes from outbox.consumer_group g where g.name = start_lanes."group");
  before_lanes bigint[];
begin
  select coalesce(array_agg(c.delivered order by c.lane), '{}') into before_lanes
    from outbox.lane_cursors("group", old_lanes) c;
  -- Whoever holds a lane in memory stores nothing any more, and new holders come after the cursors below.
  update pulsebox.lease set token = token + 1, holder = null, expires_at = null, wanted_by = null
    where name in (select 'outbox/' || "group" || '/' || n from generate_series(0, greatest(old_lanes, new_lanes) - 1) n);
  delete from outbox.cursor where group_name = "group";
  insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling, delivered)
    select "group", n, coalesce((select l.token from pulsebox.lease l where l.name = 'outbox/' || "group" || '/' || n), 0), 0,
           at_position, at_snapshot, at_ceiling,
           -- For people: what lanes delivered that are no more goes to the first.
           coalesce(before_lanes[n + 1], 0)
             + case when n = 0 then coalesce((select sum(d) from unnest(before_lanes[new_lanes + 1:]) d), 0) else 0 end
    from generate_series(0, new_lanes - 1) n;
  -- Attempts belong to a lane and the batch behind its cursor.
  delete from outbox.attempt where group_name = "group";
  update outbox.consumer_group
    set lanes = new_lanes, resize_lanes = null, resize_position = null, resize_snapshot = null, resize_ceiling = null
    where name = "group";
end $$;

-- Ends a change of lanes if every old lane stands at the barrier. Returns whether none is under way (any more).
create function outbox.finish_resize("group" text) returns boolean language plpgsql as $$
declare
  wish record;
begin
  -- The light question first: readers at the barrier ask often.
  if not exists (select from outbox.consumer_group g where g.name = "group" and g.resize_lanes is not null) then
    return true;
  end if;
  perform outbox.lock_group("group");
  select g.* into wish from outbox.consumer_group g where g.name = "group" and g.resize_lanes is not null;
  if not found then
    return true;
  end if;
  if (select count(*) from outbox.lane_cursors("group", wish.lanes) c
      where c.position = wish.resize_position and c.snapshot::text = wish.resize_snapshot::text
        and c.frozen_snapshot is null) < wish.lanes then
    return false;
  end if;
  perform outbox.start_lanes("group", wish.resize_lanes, wish.resize_position, wish.resize_snapshot, wish.resize_ceiling);
  return true;
end $$;

-- As before (0003), and now with lanes:
-- 4. A barrier's snapshot is another cluster's, too. Every event up to the floor is final, P* is not above it, and each
--    lane's page delivers what the lane had not delivered up to P: the barrier becomes (P*, now, no ceiling), to which
--    nothing is late.
-- 5. Where keys have other hashes, or texts other bytes, lanes are other slices than those that their cursors are
--    about. All lanes of a group then start with what the one furthest behind may not have delivered: the least of
--    their positions, and the oldest of their snapshots, with its ceiling. Snapshots of one cluster are in one order, so
--    what any of them did not see, the oldest did not see. Events come again; none is lost.
create or replace function outbox.rebase_after_restore() returns boolean language plpgsql set lock_timeout = '5s' as $$
declare
  floor bigint;
  lane_hash_here text := hashtextextended('outbox', 0) || ' ' || getdatabaseencoding();
  everything constant pg_snapshot := '9223372036854775807:9223372036854775807:';
  furthest_behind record;
begin
  perform from outbox.setting for update;
  if not outbox.restored_elsewhere() then
    return false;
  end if;
  perform outbox.lock_group(g.name) from outbox.consumer_group g order by g.name;
  lock table outbox.event in share mode;
  select case when is_called then last_value else 0 end into floor from outbox.event_seq;
  update pulsebox.lease set token = token + 1, holder = null, expires_at = null, wanted_by = null
    where starts_with(name, 'outbox/');
  if (select s.lane_hash is distinct from lane_hash_here from outbox.setting s) then
    for furthest_behind in
      select g.name, coalesce(g.resize_lanes, g.lanes) as new_lanes, min(c.position) as position,
             (array_agg(c.snapshot order by pg_snapshot_xmax(c.snapshot), unfinished.n desc))[1] as snapshot,
             (array_agg(c.ceiling order by pg_snapshot_xmax(c.snapshot), unfinished.n desc))[1] as ceiling
      from outbox.consumer_group g
      cross join lateral outbox.lane_cursors(g.name, g.lanes) c
      cross join lateral (select count(*) as n from pg_snapshot_xip(c.snapshot)) unfinished
      where greatest(g.lanes, g.resize_lanes) > 1
      group by g.name
    loop
      perform outbox.start_lanes(furthest_behind.name, furthest_behind.new_lanes, furthest_behind.position,
                                 furthest_behind.snapshot, furthest_behind.ceiling);
    end loop;
    update outbox.setting set lane_hash = lane_hash_here;
  end if;
  insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling,
                             frozen_snapshot, frozen_ceiling, frozen_position, delivered)
    select distinct on (c.group_name, c.lane) c.group_name, c.lane, c.token, c.batch + 1, c.position, c.snapshot, c.ceiling,
           everything, '1', 0, c.delivered
    from outbox.cursor c
    order by c.group_name, c.lane, c.token desc, c.batch desc;
  update outbox.consumer_group
    set resize_snapshot = pg_current_snapshot(), resize_ceiling = '1' where resize_lanes is not null;
  -- Horizons are xids, too.
  delete from outbox.sealed_partition;
  update outbox.setting
    set era_floor = floor, system_identifier = (select c.system_identifier from pg_control_system() c);
  return true;
end $$;

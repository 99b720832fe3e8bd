// How late events are found: parts of the statements that read them, of the whole log and of a lane.

/**
 * `late(seq, key)`: at most $4 + 1 late events by position; one more than $4 is the sign that paging must begin.
 * Parameters: $1 position, $2 snapshot, $3 ceiling, $4 how many are looked at.
 *
 * Late events are found by probes of event_xid_seq, one for each transaction that was open at the snapshot and has
 * finished since, and one for the range up to the ceiling. Conditions compare rows, (xid, seq), since that leaves the
 * planner no other index: given `xid = .. and seq <= ..` with `order by seq` it may walk the log from its start.
 *
 * Up to the floor the log was restored from another cluster: nothing there is late, and its xids are used here again.
 * `seq + 0`: with a lower bound for seq the planner took event_pkey for the range, half the log in place of one probe.
 */
export const LATE = `
  late as materialized (
    select found.seq, found.key
    from (
      select probe.seq, probe.key
      from pg_snapshot_xip($2::pg_snapshot) as open(xid)
      cross join lateral (
        select e.seq, e.key from outbox.event e
        where (e.xid, e.seq) > (open.xid, (select era_floor from outbox.setting))
          and (e.xid, e.seq) <= (open.xid, $1::bigint)
        order by e.xid, e.seq
        limit $4::bigint + 1
      ) probe
      where pg_visible_in_snapshot(open.xid, pg_current_snapshot())
      union all
      select e.seq, e.key from outbox.event e
      where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
        and (e.xid, e.seq) < ($3::xid8, 0::bigint)
        and e.seq <= $1::bigint
        and e.seq + 0 > (select era_floor from outbox.setting)
    ) found
    order by found.seq
    limit $4::bigint + 1
  )`;

/**
 * `candidate(xid)`: the transactions whose events a frozen page may hold. Begins a statement `with recursive`.
 * Parameters: $2 snapshot, $3 ceiling. Index: event_xid_seq.
 *
 * No floor here: a page begins behind late events that a look found above it, or, after a restore, below it.
 *
 * The transactions between xmax and the ceiling are enumerated by a loose index scan, so that a page costs one probe
 * per transaction and not one row per event: a transaction of a million events stays linear.
 */
export const CANDIDATES = `
  finished(xid) as (
    (select e.xid from outbox.event e
     where (e.xid, e.seq) >= (pg_snapshot_xmax($2::pg_snapshot), 0::bigint)
       and (e.xid, e.seq) < ($3::xid8, 0::bigint)
     order by e.xid, e.seq limit 1)
    union all
    select following.xid
    from finished
    cross join lateral (
      select e.xid from outbox.event e
      where (e.xid, e.seq) > (finished.xid, 9223372036854775807) and (e.xid, e.seq) < ($3::xid8, 0::bigint)
      order by e.xid, e.seq limit 1
    ) following
  ),
  candidate(xid) as (
    select xid from pg_snapshot_xip($2::pg_snapshot) as open(xid)
    union all
    select xid from finished
  )`;

// How many events of each group are parked, and how many of them for good: for the gauges and the operator's command.

export interface DeadCounts {
  readonly group: string;
  readonly lane: number;
  /**
   * Events that are tried again or wait behind another of their key; dead letters not included. Exact up to
   * `PARKED_COUNTED_EXACTLY` in a group, dead letters included, and what these leave of that beyond.
   */
  readonly parked: number;
  /** Dead letters: they wait for a person. Exact up to `PARKED_COUNTED_EXACTLY`, and that beyond. */
  readonly dead: number;
  /** Since the oldest dead letter failed last, in seconds; 0 when there is none. */
  readonly oldestDeadAgeSeconds: number;
}

/** Counting more would cost more than the figure is worth: it is asked for every few seconds. */
export const PARKED_COUNTED_EXACTLY = 100_000;

/**
 * Result: one row for each lane that has parked events.
 * Indexes: parked_pkey for all events of a group, parked_dead for its dead letters: that many of each at most, with
 * their rows, for the keys that lanes go by.
 */
export const DEAD_COUNTS: string = `
  select g.name as "group", parked.lane, parked.n::float8 as parked, parked.dead::float8 as dead,
         coalesce(greatest(0, extract(epoch from clock_timestamp() - parked.oldest_at)), 0)::float8 as "oldestDeadAgeSeconds"
  from outbox.consumer_group g
  cross join lateral (
    select lane, greatest(0, coalesce(every.n, 0) - coalesce(dead.n, 0)) as n, coalesce(dead.n, 0) as dead, dead.oldest_at
    from (
      select outbox.lane_of(counted.key, counted.position, g.lanes) as lane, count(*) as n
      from (
        select p.key, p.position from outbox.parked p where p.group_name = g.name
        order by p.position limit ${PARKED_COUNTED_EXACTLY}
      ) counted
      group by lane
    ) every
    full join (
      select outbox.lane_of(counted.key, counted.position, g.lanes) as lane, count(*) as n, min(counted.failed_at) as oldest_at
      from (
        select p.key, p.position, p.failed_at from outbox.parked p where p.group_name = g.name and p.state = 'dead'
        order by p.failed_at limit ${PARKED_COUNTED_EXACTLY}
      ) counted
      group by lane
    ) dead using (lane)
  ) parked
  order by g.name, parked.lane`;

// How many events of each group are parked, and how many of them for good: for the gauges and the operator's command.

export interface DeadCounts {
  readonly group: string;
  readonly lane: number;
  /**
   * Events that are tried again or wait behind another of their key; dead letters not included. Exact up to
   * `PARKED_COUNTED_EXACTLY` with the dead letters, and what is missing to that beyond.
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
 * Result: one row for each group that has parked events. All of a group are in the row of lane 0.
 * Indexes: parked_pkey for all events of a group, parked_dead for its dead letters, that many entries of each at most
 * and no rows of the table once it is vacuumed.
 */
export const DEAD_COUNTS: string = `
  select g.name as "group", 0 as lane, greatest(0, every.n - dead.n)::float8 as parked, dead.n::float8 as dead,
         coalesce(greatest(0, extract(epoch from clock_timestamp() - dead.oldest_at)), 0)::float8 as "oldestDeadAgeSeconds"
  from outbox.consumer_group g
  cross join lateral (
    select count(*) as n from (
      select from outbox.parked p where p.group_name = g.name order by p.position limit ${PARKED_COUNTED_EXACTLY}
    ) counted
  ) every
  cross join lateral (
    select count(*) as n, min(failed_at) as oldest_at from (
      select p.failed_at from outbox.parked p where p.group_name = g.name and p.state = 'dead'
      order by p.failed_at limit ${PARKED_COUNTED_EXACTLY}
    ) counted
  ) dead
  where every.n > 0
  order by g.name`;

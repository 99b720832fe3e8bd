// How large the log is, and what it still keeps.

import type { Queryable } from '@pulsebox/postgres';

export interface LogSummary {
  /** Exact up to `COUNTED_EXACTLY`; beyond it what the statistics say. */
  readonly events: number;
  readonly eventsExact: boolean;
  /** The greatest position that is committed; 0 for a log that never had an event. */
  readonly lastPosition: number;
  readonly oldestPosition: number | null;
  /** When the oldest event that is kept was written, ISO 8601. */
  readonly oldestAt: string | null;
  /** Besides the overflow, which has no end and is no event's place in the long run. */
  readonly partitions: number;
  /** With indexes. */
  readonly sizeBytes: number;
}

/** Counting more would take longer than the figure is worth. */
export const COUNTED_EXACTLY = 100_000;

/**
 * One row. $1 how far to count. Indexes: event_pkey from both ends; the count reads $1 rows at most; sizes and
 * statistics come from the catalogue, one look for each partition.
 */
export const LOG_SUMMARY = `
  select case when counted.n < $1 then counted.n else greatest(counted.n, parts.live) end::float8 as events,
         counted.n < $1 as "eventsExact",
         coalesce((select max(seq) from outbox.event), 0)::float8 as "lastPosition",
         oldest.seq::float8 as "oldestPosition",
         to_char(oldest.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "oldestAt",
         parts.n::float8 as partitions,
         coalesce(parts.size, 0)::float8 as "sizeBytes"
  from (select count(*) as n from (select from outbox.event limit $1) e) counted
  cross join (
    select (select count(*) from outbox.partition where upper_bound is not null) as n, sum(pg_total_relation_size(i.inhrelid)) as size,
           coalesce(sum(pg_stat_get_live_tuples(i.inhrelid)), 0) as live
    from pg_inherits i where i.inhparent = 'outbox.event'::regclass
  ) parts
  left join lateral (select seq, created_at from outbox.event order by seq limit 1) oldest on true`;

export async function logSummary(db: Queryable): Promise<LogSummary> {
  const { rows } = await db.query<LogSummary>(LOG_SUMMARY, [COUNTED_EXACTLY]);
  if (rows[0] === undefined) throw new Error('a query of one row had none');
  return rows[0];
}

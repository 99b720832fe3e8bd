// Lists parked events, dead letters above all, a page at a time.

import type { Queryable } from '@pulsebox/postgres';
import { invalid, MATCHES, resolveFilter } from './dead-filter.ts';
import type { DeadFilter, ParkedState } from './dead-filter.ts';

export interface DeadListOptions {
  readonly filter?: DeadFilter;
  /** Default `dead`. */
  readonly state?: ParkedState;
  /** By the time of the last failure. Default `newest`. */
  readonly first?: 'newest' | 'oldest';
  /** How many a page has, 1 to 1,000. Default 50. */
  readonly limit?: number;
  /** Where the page before ended: its `next`. */
  readonly cursor?: string;
}

export interface DeadPage {
  readonly events: readonly DeadSummary[];
  /** The cursor of the next page; null: this is the last one. */
  readonly next: string | null;
}

export interface DeadSummary {
  /** `search/1042` */
  readonly id: string;
  readonly group: string;
  readonly position: number;
  readonly topic: string;
  readonly key: string | null;
  readonly state: ParkedState;
  /** Attempts started since it was parked, or replayed. */
  readonly attempts: number;
  /** The first line of its last error, at most 500 characters; null: it failed at nothing itself. */
  readonly reason: string | null;
  /** When it failed last, ISO 8601; null: never. */
  readonly failedAt: string | null;
  readonly parkedAt: string;
  /** When it is tried next; null: it is dead, waits behind another of its key, or is being tried. */
  readonly nextAttemptAt: string | null;
  /** How many events of its key wait behind it. Exact up to `WAITING_COUNTED_EXACTLY`, and that beyond. */
  readonly waiting: number;
}

/** Counting more would take longer than the figure is worth. */
export const WAITING_COUNTED_EXACTLY = 10_000;

/** Of a row `p`. */
export const SUMMARY_COLUMNS: string = `
  p.group_name || '/' || p.position as id, p.group_name as "group", p.position::float8 as position, p.topic, p.key,
  p.state, p.attempts,
  left(split_part(p.errors -> -1 ->> 'reason', E'\\n', 1), 500) as reason,
  to_char(p.failed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "failedAt",
  to_char(p.parked_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "parkedAt",
  to_char(p.next_attempt_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "nextAttemptAt"`;

/**
 * Of a row `p`: later events of its key that never failed and become due by its end alone. An event without a key holds
 * up none, and in a group that keeps no order none is without a time of its own.
 * Index: parked_key from the row on, to WAITING_COUNTED_EXACTLY rows at most.
 */
export const WAITING: string = `
  (select count(*) from (
     select from outbox.parked behind
     where behind.group_name = p.group_name and behind.key = p.key and behind.position > p.position
       and behind.state = 'parked' and behind.next_attempt_at is null and behind.attempting_since is null
     limit ${WAITING_COUNTED_EXACTLY}
   ) counted)::integer as waiting`;

/**
 * Result: a page, oldest first, with what a cursor is made of. $1 to $7 the filter, $8 state, $9 to $11 the cursor:
 * behind this time, group and position; null: from the start. $12 how many.
 * Index: parked_dead for dead letters of one group, parked_pkey for ids; else all rows are looked at, for their keys
 * of order alone: payloads and errors are read of the page.
 */
export const LIST_OLDEST: string = `
  select ${SUMMARY_COLUMNS}, ${WAITING}, page.since::text as since
  from (
    select p.group_name, p.position, coalesce(p.failed_at, p.parked_at) as since
    from outbox.parked p
    where ${MATCHES} and p.state = $8
      and ($9::timestamptz is null
           or (coalesce(p.failed_at, p.parked_at), p.group_name, p.position) > ($9, $10::text, $11::bigint))
    order by since, p.group_name, p.position limit $12
  ) page
  join outbox.parked p on (p.group_name, p.position) = (page.group_name, page.position)
  order by page.since, p.group_name, p.position`;

/** As LIST_OLDEST, the other way round. */
export const LIST_NEWEST: string = `
  select ${SUMMARY_COLUMNS}, ${WAITING}, page.since::text as since
  from (
    select p.group_name, p.position, coalesce(p.failed_at, p.parked_at) as since
    from outbox.parked p
    where ${MATCHES} and p.state = $8
      and ($9::timestamptz is null
           or (coalesce(p.failed_at, p.parked_at), p.group_name, p.position) < ($9, $10::text, $11::bigint))
    order by since desc, p.group_name desc, p.position desc limit $12
  ) page
  join outbox.parked p on (p.group_name, p.position) = (page.group_name, page.position)
  order by page.since desc, p.group_name desc, p.position desc`;

/** @throws OUTBOX_FILTER_INVALID, OUTBOX_GROUP_UNKNOWN */
export async function listDead(db: Queryable, options: DeadListOptions = {}): Promise<DeadPage> {
  const { filter = {}, state = 'dead', first = 'newest', limit = 50, cursor } = options;
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
    throw invalid(`expected a limit from 1 to 1,000, got ${limit}`);
  const from = cursor === undefined ? [null, null, null] : decode(cursor);
  const values = await resolveFilter(db, filter);
  const sql = first === 'newest' ? LIST_NEWEST : LIST_OLDEST;
  // One more than asked for: whether there is a next page.
  const { rows } = await db.query<DeadSummary & { since: string }>(sql, [
    ...values,
    state,
    ...from,
    limit + 1,
  ]);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    events: page.map(({ since: _since, ...summary }) => summary),
    next: rows.length > limit && last !== undefined ? encode(last) : null,
  };
}

function encode({ since, group, position }: DeadSummary & { since: string }): string {
  return Buffer.from(JSON.stringify([since, group, position])).toString('base64url');
}

function decode(cursor: string): [since: string, group: string, position: number] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const [since, group, position] = Array.isArray(parts) ? (parts as unknown[]) : [];
    if (
      typeof since === 'string' &&
      /^\d{4}-[\d .:+-]+$/.test(since) &&
      typeof group === 'string' &&
      Number.isSafeInteger(position)
    ) {
      return [since, group, position as number];
    }
  } catch {
    // Told below: whatever it is, it is no cursor.
  }
  throw invalid(`expected the "next" of an earlier page as the cursor, got ${JSON.stringify(cursor)}`);
}

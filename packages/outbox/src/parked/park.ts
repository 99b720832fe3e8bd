// Sets failed events aside, in the statement that moves the cursor past them.

import type { Queryable } from '@pulsebox/postgres';
import type { OutboxEvent } from '../log/event.ts';
import type { Delivered, Failure } from '../deliver/deliver.ts';
import { verdictOn } from '../deliver/retry.ts';
import type { RetryPolicy, Verdict } from '../deliver/retry.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { LaneOfGroup } from '../lease/lane-of-group.ts';
import type { StoredCursor } from '../lease/store-cursor.ts';

export interface EventToPark {
  readonly event: OutboxEvent;
  /** Undefined: it waits behind another event of its key, and has failed at nothing itself. */
  readonly failed: FailedAttempt | undefined;
}

export interface FailedAttempt {
  readonly failure: Pick<Failure, 'reason' | 'retryable'>;
  readonly verdict: Verdict;
  /** Attempts started so far, this one included. */
  readonly attempts: number;
}

export type ParkOutcome =
  | { readonly advanced: true; readonly parked: number }
  | { readonly advanced: false; readonly reason: 'fenced' };

/**
 * Result: one row, how many cursors were stored and how many events were parked. $1-$12 as STORE_CURSOR, $13 the
 * events to park, as an array of {position, state, attempts, waitMs, reason, retryable, first}.
 * Indexes: lease_pkey, event_pkey once for each event, parked_key once for each that is the first of its key here.
 * stored 0: the lease was lost, and nothing was parked either.
 *
 * An event is copied from the log and not sent: what the driver made of its JSON may have lost digits of numbers.
 * One that is parked already stays as it is: a group that was sought backwards meets its own.
 *
 * An event without a reason waits behind another. When that one has been removed since the reader looked (discarded by
 * an operator), nobody would ever make this one due. So the one in front is locked: a removal under way is waited for
 * and seen, and one that comes later waits for this statement, and its trigger sees what was parked here.
 */
export const STORE_CURSOR_AND_PARK = `
  with lease as (
    select from pulsebox.lease where name = $12 and token = $3 for share
  ),
  stored as (
    insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling,
                               frozen_snapshot, frozen_ceiling, frozen_position, delivered)
    select $1, $2, $3, $4, $5, $6::pg_snapshot, $7::xid8, $8::pg_snapshot, $9::xid8, $10, $11
    from lease
    returning 1
  ),
  parked as (
    insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at,
                               state, attempts, errors, next_attempt_at, failed_at)
    select $1, e.seq, e.topic, e.key, e.payload, e.headers, e.created_at, f.state, f.attempts,
           case when f.reason is null then '[]'
                else jsonb_build_array(jsonb_build_object(
                  'at', clock_timestamp(), 'attempt', f.attempts, 'reason', f.reason, 'retryable', f.retryable)) end,
           case when f.state = 'dead' then null
                when f.reason is not null then clock_timestamp() + f."waitMs" * interval '1 millisecond'
                when f.first and (
                  select h.position from outbox.parked h
                  where h.group_name = $1 and h.key = e.key and h.position < e.seq
                  order by h.position limit 1
                  for key share
                ) is null then clock_timestamp() end,
           case when f.reason is not null then clock_timestamp() end
    from lease
    cross join jsonb_to_recordset($13::jsonb) as f(
      position bigint, state text, attempts integer, "waitMs" float8, reason text, retryable boolean, first boolean)
    cross join lateral (select * from outbox.event where seq = f.position limit 1) e
    on conflict (group_name, position) do nothing
    returning 1
  )
  select (select count(*) from stored)::integer as stored, (select count(*) from parked)::integer as parked`;

/** What to park of a batch, in the order of the log. `held`: events of keys that were held before it. */
export function eventsToPark(
  { failed, heldBack }: Delivered,
  held: readonly OutboxEvent[],
  policy: RetryPolicy,
): EventToPark[] {
  const failures = failed.map((failure): EventToPark => {
    const { attempts = 1 } = failure;
    return {
      event: failure.event,
      failed: { failure, verdict: verdictOn(failure, attempts, policy), attempts },
    };
  });
  const waiting = [...heldBack, ...held].map((event): EventToPark => ({ event, failed: undefined }));
  return [...failures, ...waiting].toSorted((one, other) => one.event.position - other.event.position);
}

/** Stores progress and parks events, both or neither, if the token is still the current one. */
export async function storeCursorAndPark(
  db: Queryable,
  lane: LaneOfGroup,
  stored: StoredCursor,
  events: readonly EventToPark[],
): Promise<ParkOutcome> {
  const { cursor } = stored;
  const { rows } = await db.query<{ stored: number; parked: number }>(STORE_CURSOR_AND_PARK, [
    lane.group,
    lane.lane,
    stored.token,
    stored.batch,
    cursor.position,
    cursor.snapshot,
    cursor.ceiling,
    cursor.frozen?.snapshot ?? null,
    cursor.frozen?.ceiling ?? null,
    cursor.frozen?.position ?? null,
    stored.delivered,
    laneLeaseName(lane),
    JSON.stringify(parkingRows(events)),
  ]);
  const { stored: cursors = 0, parked = 0 } = rows[0] ?? {};
  return cursors === 1 ? { advanced: true, parked } : { advanced: false, reason: 'fenced' };
}

function parkingRows(events: readonly EventToPark[]): object[] {
  const keys = new Set<string>();
  return events.map(({ event: { position, key }, failed }) => {
    const first = key !== null && !keys.has(key);
    if (key !== null) keys.add(key);
    if (failed === undefined) return { position, state: 'parked', attempts: 0, first };
    const { failure, verdict, attempts } = failed;
    const { reason, retryable } = failure;
    const waitMs = verdict.state === 'dead' ? null : verdict.waitMs;
    return { position, state: verdict.state, attempts, waitMs, reason, retryable, first };
  });
}

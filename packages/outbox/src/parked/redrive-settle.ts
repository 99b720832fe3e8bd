// The end of an attempt at parked events: what was delivered is removed, what failed is scheduled again or dead, and what
// stood behind that is as it was.

import type { Queryable } from '@pulsebox/postgres';
import type { HeldLane } from '../lease/lane-of-group.ts';
import type { FailedAttempt } from './park.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { StoreOutcome } from '../lease/store-cursor.ts';

export interface Settlement {
  readonly delivered: readonly number[];
  readonly failed: readonly (FailedAttempt & {
    readonly position: number;
    /** Nobody lived to see the end of the attempt. */
    readonly workerEnded?: boolean;
  })[];
  /** Behind one of its key that failed: the attempt at it does not count. */
  readonly heldBack: readonly number[];
}

/** The first error and the latest ones of this many are kept; far more than any sane number of attempts. */
const LONGEST_HISTORY = 100;

/**
 * Result: one row, whether the lease is held. $1 group, $2 the lease's name, $3 token, $4 positions delivered, $5 what
 * failed: [{position, state, waitMs, reason, retryable, workerEnded}], $6 positions held back. Indexes: lease_pkey,
 * parked_pkey. held 0: the lease was lost, and nothing is stored.
 *
 * Removing the first event of a key makes the next one due: the trigger release_next_of_key does.
 */
export const SETTLE_PARKED: string = `
  with lease as (
    select from pulsebox.lease where name = $2 and token = $3 for share
  ),
  removed as (
    delete from outbox.parked p using lease where p.group_name = $1 and p.position = any($4::bigint[])
  ),
  failed as (
    update outbox.parked p
    set state = f.state, attempting_since = null, failed_at = clock_timestamp(),
        next_attempt_at = case when f.state = 'parked'
                               then clock_timestamp() + f."waitMs" * interval '1 millisecond' end,
        errors = case when jsonb_array_length(p.errors) < ${LONGEST_HISTORY} then p.errors else p.errors - 1 end
                 || jsonb_strip_nulls(jsonb_build_object(
                      'at', clock_timestamp(), 'attempt', p.attempts, 'reason', f.reason,
                      'retryable', f.retryable, 'workerEnded', f."workerEnded"))
    from lease, jsonb_to_recordset($5::jsonb) as f(
      position bigint, state text, "waitMs" float8, reason text, retryable boolean, "workerEnded" boolean)
    where p.group_name = $1 and p.position = f.position
  ),
  held_back as (
    update outbox.parked p set attempts = greatest(0, p.attempts - 1), attempting_since = null
    from lease
    where p.group_name = $1 and p.position = any($6::bigint[]) and p.attempting_since is not null
  )
  select count(*)::integer as held from lease`;

export async function settleParked(
  db: Queryable,
  lane: HeldLane,
  { delivered, failed, heldBack }: Settlement,
): Promise<StoreOutcome> {
  const { rows } = await db.query<{ held: number }>(SETTLE_PARKED, [
    lane.group,
    laneLeaseName(lane),
    lane.token,
    delivered,
    JSON.stringify(
      failed.map(({ position, failure, verdict, workerEnded }) => ({
        position,
        state: verdict.state,
        waitMs: verdict.state === 'parked' ? verdict.waitMs : null,
        reason: failure.reason,
        retryable: failure.retryable,
        workerEnded,
      })),
    ),
    heldBack,
  ]);
  return rows[0]?.held === 1 ? { advanced: true } : { advanced: false, reason: 'fenced' };
}

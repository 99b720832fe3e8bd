// What the database is told of a pause, for people who ask it: `pulsebox groups` and `doctor`.

import type { Queryable } from '@pulsebox/postgres';
import type { SinkError } from '../deliver/sink-error.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { HeldLane } from '../lease/lane-of-group.ts';

export interface PauseNote {
  readonly error: SinkError;
  /** How long the sink has been away, in milliseconds. */
  readonly pausedMs: number;
  /** Until it is asked again, in milliseconds. */
  readonly waitMs: number;
}

/**
 * $1 group, $2 lane, $3 token, $4 and $5 milliseconds since its begin and until the next try, $6 code, $7 reason, $8 the
 * lease's name. Times are the database's, whatever the clock of the worker says. Indexes: lease_pkey, pause_pkey.
 * 0 rows: the lease was lost.
 */
export const NOTE_PAUSE = `
  with lease as (
    select from pulsebox.lease where name = $8 and token = $3 for share
  )
  insert into outbox.pause (group_name, lane, token, since, next_try_at, code, reason)
  select $1, $2, $3, clock_timestamp() - $4 * interval '1 ms', clock_timestamp() + $5 * interval '1 ms', $6, $7
  from lease
  on conflict (group_name, lane) do update
    set token = excluded.token, since = excluded.since, next_try_at = excluded.next_try_at,
        code = excluded.code, reason = excluded.reason`;

/** $1 group, $2 lane, $3 token. Index: pause_pkey. 0 rows: there is none, or it is another reader's. */
export const FORGET_PAUSE = `delete from outbox.pause where group_name = $1 and lane = $2 and token = $3`;

/** A reason is one line of a table. */
const LONGEST_REASON = 300;

export async function notePause(
  db: Queryable,
  lane: HeldLane,
  { error, pausedMs, waitMs }: PauseNote,
): Promise<void> {
  await db.query(NOTE_PAUSE, [
    lane.group,
    lane.lane,
    lane.token,
    pausedMs,
    waitMs,
    error.code,
    firstLine(error.message),
    laneLeaseName(lane),
  ]);
}

export async function forgetPause(db: Queryable, { group, lane, token }: HeldLane): Promise<void> {
  await db.query(FORGET_PAUSE, [group, lane, token]);
}

/** PostgreSQL's text has no NUL, and a sink may answer with one. */
function firstLine(message: string): string {
  return (message.split('\n', 1)[0] ?? '').replaceAll('\0', ' ').slice(0, LONGEST_REASON);
}

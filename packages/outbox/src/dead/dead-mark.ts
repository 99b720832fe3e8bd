// Makes a dead letter of an event that its group has left behind: for a handler that hands work on (to a job, say) and
// learns only later that the event cannot be delivered.

import type { Queryable } from '@pulsebox/postgres';
import type { JsonValue, OutboxEvent } from '../log/event.ts';

export interface MarkDeadOptions {
  readonly group: string;
  /** As its handler got it. Only what the log has dropped meanwhile is taken from here, and its position. */
  readonly event: OutboxEvent;
  readonly reason: string;
  /** Put into the headers that the handler gets with a replay. Default: none. */
  readonly headers?: Readonly<Record<string, JsonValue>>;
}

/** `under-way`: the handler has the event at this very moment, and may have looked too early to see what is new. */
export type MarkDeadOutcome =
  | { readonly marked: true }
  | { readonly marked: false; readonly reason: 'under-way' };

/** As in the settling of redrives. */
const LONGEST_HISTORY = 100;

/**
 * Result: one row; 0 rows: the event is parked and being tried. $1 group, $2 position, $3 topic, $4 key, $5 payload,
 * $6 headers, $7 created at, $8 reason, $9 more headers. Indexes: event_pkey, parked_pkey.
 *
 * One that is parked already has the reason added. If it is to be tried again it stays so: its handler finds what it
 * has to do anew. A claim under way is waited for, and then seen.
 */
export const MARK_DEAD: string = `
  insert into outbox.parked as p (group_name, position, topic, key, payload, headers, created_at,
                                  state, attempts, errors, failed_at)
  select $1, $2, e.topic, e.key, e.payload, e.headers || $9, e.created_at, 'dead', 1,
         jsonb_build_array(jsonb_build_object(
           'at', clock_timestamp(), 'attempt', 1, 'reason', $8::text, 'retryable', false)),
         clock_timestamp()
  from (
    select topic, key, payload, headers, created_at from (
      (select 1 as choice, topic, key, payload, headers, created_at from outbox.event where seq = $2 limit 1)
      union all
      select 2, $3, $4, $5::jsonb, $6::jsonb, $7::timestamptz
    ) known order by choice limit 1
  ) e
  on conflict (group_name, position) do update
  set failed_at = clock_timestamp(),
      headers = excluded.headers,
      errors = case when jsonb_array_length(p.errors) < ${LONGEST_HISTORY} then p.errors else p.errors - 1 end
               || jsonb_build_array(jsonb_build_object(
                    'at', clock_timestamp(), 'attempt', p.attempts, 'reason', $8::text, 'retryable', false))
  where p.attempting_since is null
  returning 1`;

/**
 * In the transaction that records what could not be delivered, so that neither is without the other. For groups that
 * keep no order: where it is kept, later events of the key have been delivered, and a reader that knows of no parked
 * event would not look for this one.
 */
export async function markDead(db: Queryable, options: MarkDeadOptions): Promise<MarkDeadOutcome> {
  const { group, event, reason, headers = {} } = options;
  const { rows } = await db.query(MARK_DEAD, [
    group,
    event.position,
    event.topic,
    event.key,
    JSON.stringify(event.payload),
    JSON.stringify(event.headers),
    event.createdAt,
    reason,
    JSON.stringify(headers),
  ]);
  return rows.length === 1 ? { marked: true } : { marked: false, reason: 'under-way' };
}

// Shows one parked event with all that is known of it.

import type { Queryable } from '@pulsebox/postgres';
import { formatDeadId } from './dead-id.ts';
import type { DeadId } from './dead-id.ts';
import { SUMMARY_COLUMNS, WAITING } from './dead-list.ts';
import type { DeadSummary } from './dead-list.ts';
import type { JsonValue } from '../log/event.ts';
import { OutboxError } from '../outbox-error.ts';

export interface DeadDetails extends DeadSummary {
  /** As JSON text: numbers digit for digit, also those that JavaScript cannot hold. */
  readonly payloadJson: string;
  readonly headers: Readonly<Record<string, JsonValue>>;
  /** When the event was written, ISO 8601. */
  readonly createdAt: string;
  /** Since when an attempt is under way, ISO 8601; null: none is. */
  readonly attemptingSince: string | null;
  /** Every error of its history, oldest first, those before a replay included. */
  readonly errors: readonly DeadError[];
}

export interface DeadError {
  /** ISO 8601 */
  readonly at: string;
  /** Which attempt it was, since the event was parked or replayed. */
  readonly attempt: number;
  readonly reason: string;
  readonly retryable: boolean;
}

/** Result: the event. $1 group, $2 position. Index: parked_pkey; parked_key for what waits. 0 rows: it is not there. */
const SHOW = `
  select ${SUMMARY_COLUMNS}, ${WAITING}, p.payload::text as "payloadJson", p.headers, p.errors,
         to_char(p.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt",
         to_char(p.attempting_since at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "attemptingSince"
  from outbox.parked p
  where p.group_name = $1 and p.position = $2`;

/** @throws OUTBOX_EVENT_NOT_PARKED */
export async function showDead(db: Queryable, id: DeadId): Promise<DeadDetails> {
  const { rows } = await db.query<DeadDetails>(SHOW, [id.group, id.position]);
  if (rows[0] !== undefined) return rows[0];
  throw new OutboxError('OUTBOX_EVENT_NOT_PARKED', `${formatDeadId(id)} is not parked`, {
    hint: 'it was delivered or discarded meanwhile, or never failed; `pulsebox dead list` shows what there is',
  });
}

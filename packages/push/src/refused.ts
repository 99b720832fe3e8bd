// Deliveries that a push service refused when their event had been left behind already, in a retry or a broadcast:
// the event becomes a dead letter, as it does when that happens in a batch. So all of them stand in one place.

import { randomUUID } from 'node:crypto';
import { markDead } from '@pulsebox/outbox';
import type { MarkDeadOutcome } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import { eventOf, REPLAY_HEADER } from './push-request.ts';
import type { PushRequest } from './push-request.ts';

/** The consumer group that push is: whose dead letters these are. */
export const PUSH_GROUP = 'push';

/** How a delivery is named to an operator: by a number of ours, never by its endpoint. */
export function refusalOf(subscriptionId: number, detail: string): string {
  return `subscription ${subscriptionId}: ${detail}`;
}

/**
 * In the transaction that records the refusal. Not marked: a replay of the event is under way, and may have looked
 * before that record is there; try again when it is over.
 */
export function deadLetter(
  db: Queryable,
  request: Omit<PushRequest, 'replay'>,
  reason: string,
): Promise<MarkDeadOutcome> {
  // A replay that is delivered twice finds the same value, the next replay another.
  const headers = { [REPLAY_HEADER]: randomUUID() };
  return markDead(db, { group: PUSH_GROUP, event: eventOf(request), reason, headers });
}

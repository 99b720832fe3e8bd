// One message for one subscription: what is to be sent, and until when that makes sense.

import type { PushMessage } from './message.ts';
import type { SubscriptionKeys } from './sender.ts';

export interface Delivery {
  /** Of the event, in the log. */
  readonly position: number;
  /** Whom the event names; null: everybody. */
  readonly userId: string | null;
  /** When the event was written, in milliseconds since 1970, on the database's clock. */
  readonly createdAtMs: number;
  readonly subscriptionId: number;
  readonly subscription: SubscriptionKeys;
  readonly message: PushMessage;
  /** When its time to live is over, in milliseconds since 1970, on the database's clock. */
  readonly expiresAtMs: number;
  /** 1 for the first. */
  readonly attempt: number;
}

/** What becomes of a delivery, as `push.delivery` has it. */
export type DeliveryOutcome =
  | 'sent'
  | 'gone'
  | 'waiting'
  | 'rejected'
  | 'expired'
  | 'superseded'
  | 'forbidden'
  | 'invalid';

/**
 * A message that lives for less than this, such as one for devices that are online now and no others (0), is still
 * attempted within it: an event is never delivered in the moment in which it was written.
 */
const SHORTEST_LIFE_MS = 60_000;

export function expiryOf(createdAtMs: number, { ttlSeconds }: PushMessage): number {
  return createdAtMs + Math.max(ttlSeconds * 1_000, SHORTEST_LIFE_MS);
}

/** What is left of the message's time to live, in whole seconds; undefined: it is over. */
export function remainingTtlSeconds(
  { message, expiresAtMs }: Pick<Delivery, 'message' | 'expiresAtMs'>,
  nowMs: number,
): number | undefined {
  const leftMs = expiresAtMs - nowMs;
  return leftMs <= 0 ? undefined : Math.min(message.ttlSeconds, Math.ceil(leftMs / 1_000));
}

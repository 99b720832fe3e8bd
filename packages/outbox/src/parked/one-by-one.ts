// Hands a batch over event by event, so that one which ends its worker, or takes too long, is known by name.

import { alone } from './alone.ts';
import type { Caution } from './attempt-caution.ts';
import { isPastDeadline } from '../deliver/deadline.ts';
import { deliver } from '../deliver/deliver.ts';
import type { Delivered, Delivery, Failure } from '../deliver/deliver.ts';
import type { OutboxEvent } from '../log/event.ts';

/** Events that ran past the deadline alone, by position: their tick could not store that they failed. */
export type Overdue = Map<number, Failure>;

export interface CarefulDelivery {
  readonly delivery: Delivery;
  readonly caution: Caution;
  readonly overdue: Overdue;
  readonly deadlineMs: number;
}

/**
 * Delivers the batch, as a whole or as carefully as is due.
 *
 * @throws as `deliver`, and OUTBOX_LEASE_LOST
 */
export async function deliverCarefully(careful: CarefulDelivery): Promise<Delivered> {
  const { delivery, caution } = careful;
  const { events } = delivery.batch;
  if (caution.oneByOne) return await deliverOneByOne(careful);
  try {
    return await deliver(delivery);
  } catch (error) {
    if (isPastDeadline(delivery.context.signal)) {
      caution.afterDeadline();
      if (events.length === 1 && events[0] !== undefined) noteOverdue(careful, events[0], error);
    }
    throw error;
  }
}

async function deliverOneByOne(careful: CarefulDelivery): Promise<Delivered> {
  const { batch, order } = careful.delivery;
  const failed: Failure[] = [];
  const heldBack: OutboxEvent[] = [];
  const failedKeys = new Set<string>();
  for (const event of batch.events) {
    if (order === 'key' && event.key !== null && failedKeys.has(event.key)) {
      heldBack.push(event);
      continue;
    }
    const { signal, progress } = careful.delivery.context;
    const longestWaitMs = careful.deadlineMs / 4;
    const failure = await alone({ signal, longestWaitMs, progress }, async () => attempt(careful, event));
    if (failure === undefined) continue;
    failed.push(failure);
    if (event.key !== null) failedKeys.add(event.key);
  }
  return { failed, heldBack };
}

async function attempt(careful: CarefulDelivery, event: OutboxEvent): Promise<Failure | undefined> {
  const { delivery, caution, overdue } = careful;
  const tooLate = overdue.get(event.position);
  if (tooLate !== undefined) return tooLate;
  const hand = await caution.mark(event.position);
  if (!hand.over) {
    return {
      event,
      reason: `${hand.attempts} times in a row the worker ended while it had this event alone, so it was not handed over again`,
      retryable: false,
      retryAfterMs: undefined,
      error: undefined,
      attempts: hand.attempts,
    };
  }
  try {
    const { failed } = await deliver({ ...delivery, batch: { ...delivery.batch, events: [event] } });
    return failed[0];
  } catch (error) {
    if (isPastDeadline(delivery.context.signal)) noteOverdue(careful, event, error);
    throw error;
  } finally {
    caution.survived();
  }
}

function noteOverdue({ overdue, deadlineMs }: CarefulDelivery, event: OutboxEvent, error: unknown): void {
  overdue.set(event.position, overdueFailure(event, deadlineMs, error));
}

/** An event that was not delivered within the deadline although nothing else was to be done. */
export function overdueFailure(event: OutboxEvent, deadlineMs: number, error: unknown): Failure {
  const reason = `not done within ${deadlineMs / 1_000} s`;
  return { event, reason, retryable: true, retryAfterMs: undefined, error };
}

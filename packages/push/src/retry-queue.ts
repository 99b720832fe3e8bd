// Deliveries that are tried again later: a job each, so that nobody else waits for them.

import { defineQueue } from '@pulsebox/jobs';
import type { JobToSend, Queue } from '@pulsebox/jobs';
import type { Delivery } from './delivery.ts';
import type { PushMessage } from './message.ts';

/** Endpoint and keys are not in it: they are read when it is their turn, and may be others by then. */
export interface RetryData {
  readonly position: number;
  readonly userId: string | null;
  readonly createdAtMs: number;
  readonly subscriptionId: number;
  readonly message: PushMessage;
  readonly expiresAtMs: number;
  /** Of the delivery, not of the job: the first retry is 2. */
  readonly attempt: number;
}

/** Attempts of the job are for workers that die in the middle of one; those of the delivery are jobs of their own. */
export const retryQueue: Queue<RetryData> = defineQueue<RetryData>('push-retry', {
  // A database that comes and goes takes some, too. What ends the delivery is its time to live.
  attempts: 30,
  timeoutSeconds: 120,
  keepFinishedSeconds: 86_400,
});

export interface Backoff {
  /** The wait before the second attempt, in milliseconds; it doubles with each. Default 10,000. */
  readonly firstMs?: number | undefined;
  /** Default 900,000. */
  readonly longestMs?: number | undefined;
  /** A number in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

/**
 * How long a delivery waits after its nth attempt, in milliseconds. What the service asks for is the least. The upper
 * part is random: what failed together must not come back together.
 */
export function retryDelayMs(attempt: number, leastMs: number, backoff: Backoff = {}): number {
  const { firstMs = 10_000, longestMs = 900_000, random = Math.random } = backoff;
  const ceilingMs = Math.min(longestMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(Math.max(ceilingMs / 2, leastMs) + (ceilingMs / 2) * random());
}

export function retryJob(delivery: Delivery, delayMs: number): JobToSend<RetryData> {
  const { position, userId, createdAtMs, subscriptionId, message, expiresAtMs, attempt } = delivery;
  return {
    data: {
      position,
      userId,
      createdAtMs,
      subscriptionId,
      message,
      expiresAtMs,
      attempt: attempt + 1,
    },
    delaySeconds: delayMs / 1_000,
  };
}

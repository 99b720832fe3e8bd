// What a capability brings: a function that takes a batch to its sink.

import type { Logger } from '@pulsebox/loop';
import type { OutboxEvent } from './event.ts';

export interface Batch {
  readonly group: string;
  readonly lane: number;
  /** Events of one key are in the order in which their transactions committed. At least one. */
  readonly events: readonly OutboxEvent[];
}

export interface HandlerContext {
  /** Aborted when the batch is past its deadline, the lease is lost or the worker's drain time is over: stop writing. */
  readonly signal: AbortSignal;
  /** The fencing token of the lease that this batch is delivered under. */
  readonly fencingToken: number;
  /** Call it as a long batch makes progress; a silent handler counts as stalled after the stale time. */
  progress(): void;
  readonly log: Logger;
}

/**
 * Delivers a batch. Returning moves the cursor past it; throwing delivers the same events again after a backoff.
 * Delivery is at least once: a worker that dies between the sink and the cursor delivers its batch again.
 */
export type Handler = (batch: Batch, context: HandlerContext) => Promise<void>;

// What a capability brings: a function that takes a batch to its sink.

import type { Logger } from '@pulsebox/loop';
import type { OutboxEvent } from '../log/event.ts';

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

/** An event that the sink did not take, while it took others of the batch. */
export interface EventFailure {
  readonly position: number;
  /** One sentence, for people. Cut to 2,000 characters. */
  readonly reason: string;
  /** False: the same again would fail again. It becomes a dead letter at once. */
  readonly retryable: boolean;
  /** How long the sink asked to be left alone with this event, in milliseconds: the least wait before the next attempt. */
  readonly retryAfterMs?: number | undefined;
}

export interface BatchOutcome {
  readonly failed: readonly EventFailure[];
}

/**
 * Delivers a batch. Returning delivers it, but for the events that it reports as failed.
 *
 * Throwing says that some of it could not be delivered: a SinkError of the kind `away`, that nothing can be at present,
 * so that the group pauses; anything else, that an event is bad, and the batch is handed over again in halves until it
 * is known which. A handler that can tell reports it, which spares the calls. After reporting an event it passes over
 * the later ones of the same key.
 *
 * Delivery is at least once: a worker that dies between the sink and the cursor delivers its batch again.
 */
export type Handler = (batch: Batch, context: HandlerContext) => Promise<BatchOutcome | undefined | void>;

// Hands a batch to its handler, and finds out which of its events are to blame when that fails.

import { awayError } from './away.ts';
import type { OutboxEvent } from '../log/event.ts';
import { isTracing } from '../log/trace-headers.ts';
import type { Batch, EventFailure, Handler, HandlerContext } from './handler.ts';
import { reportsOf } from './handler-result.ts';
import { inProcessSpan } from './process-span.ts';
import { shown } from './shown.ts';
import { SinkError } from './sink-error.ts';

/** `key`: no event overtakes another of its key. `none`: events stand for themselves, for handlers that re-read state. */
export type DeliveryOrder = 'key' | 'none';

export interface Delivery {
  readonly handler: Handler;
  readonly batch: Batch;
  readonly context: HandlerContext;
  readonly order: DeliveryOrder;
  /** Asks the server whether the lease is still held, and aborts the context's signal if it is not. */
  readonly confirmLease: () => Promise<void>;
}

/** An event that the handler did not deliver, and why. */
export interface Failure {
  readonly event: OutboxEvent;
  /** At most `LONGEST_REASON` characters. */
  readonly reason: string;
  /** False: the same again would fail again. */
  readonly retryable: boolean;
  /** How long the sink asked to be left alone with it, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What the handler threw; undefined when it reported the event. */
  readonly error: unknown;
  /** Attempts started, where there were others before this batch. Default 1. */
  readonly attempts?: number;
}

/** Every event of the batch that is in neither list is delivered. */
export interface Delivered {
  /** In the order of the batch. With order `key` at most one of each key. */
  readonly failed: readonly Failure[];
  /** Later events of those keys, in order: not delivered, or delivered only beside the one that failed. */
  readonly heldBack: readonly OutboxEvent[];
}

const LONGEST_REASON = 2_000;
const NOTHING: Delivered = { failed: [], heldBack: [] };

/**
 * Delivers a batch. One that the handler throws on is narrowed down by halves, in order, until single events fail: one
 * bad event among n costs log2(n) + 1 to 2 log2(n) + 1 more calls, and every other event is delivered.
 *
 * With order `key`, once an event has failed the later ones of its key are not handed over any more. In the calls before
 * that they may have been, beside it: that is a redelivery of the whole sequence and not an inversion of it.
 *
 * @throws SinkError of the kind `away`: the sink takes nothing, so no event is to blame
 * @throws the signal's reason: past the deadline, or the lease is lost; nothing that was delivered may be stored
 * @throws OUTBOX_HANDLER_RESULT_INVALID
 */
export async function deliver(delivery: Delivery): Promise<Delivered> {
  const { handler, batch, context, order, confirmLease } = delivery;
  const failed: Failure[] = [];
  const heldBack: OutboxEvent[] = [];
  const failedKeys = new Set<string>();

  /** Undefined: the handler returned. */
  async function attempt(events: readonly OutboxEvent[]): Promise<{ readonly thrown: unknown } | undefined> {
    const part = events === batch.events ? batch : { ...batch, events };
    let returned: unknown;
    try {
      // A closure for each batch is garbage that a worker without tracing need not make.
      returned = isTracing()
        ? await inProcessSpan(part, async () => handler(part, context))
        : await handler(part, context);
    } catch (error) {
      context.signal.throwIfAborted();
      const away = awayError(error);
      if (away !== undefined) throw away;
      // A sink that knows the fencing token refuses everything of a reader that was replaced: ask before anything else
      // is tried, and above all before events are blamed.
      await confirmLease();
      context.signal.throwIfAborted();
      return { thrown: error };
    }
    context.signal.throwIfAborted();
    const reports = reportsOf(part, returned);
    if (reports.size > 0) record(part, reports);
    return undefined;
  }

  function record({ events }: Batch, reports: ReadonlyMap<number, EventFailure>): void {
    for (const event of events) {
      const report = reports.get(event.position);
      // Behind one that has failed: its turn is after that one, whatever the handler says of it now.
      if (holdsBack(event)) heldBack.push(event);
      else if (report !== undefined) fail(event, report);
    }
  }

  function holdsBack({ key }: OutboxEvent): boolean {
    return order === 'key' && key !== null && failedKeys.has(key);
  }

  function fail(event: OutboxEvent, why: Omit<EventFailure, 'position'>, error?: unknown): void {
    const { retryable, retryAfterMs } = why;
    failed.push({ event, reason: storable(why.reason), retryable, retryAfterMs, error });
    if (event.key !== null) failedKeys.add(event.key);
  }

  /**
   * Delivers a part of the batch; whether the handler took it at once. `suspect`: the whole failed and the half before
   * this one did not, so the fault is most likely here, and trying it as one would be a call for nothing.
   */
  async function deliverPart(part: readonly OutboxEvent[], suspect: boolean): Promise<boolean> {
    // Nobody is asked while no key has failed, which is nearly always: the question keeps each batch alive until a full
    // garbage collection, so that all of them are copied. A drain took half as much processor time again, and 300 MiB
    // instead of 170.
    const isAnyHeld = failedKeys.size > 0 && part.some(holdsBack);
    const events = isAnyHeld ? part.filter((event) => !holdsBack(event)) : part;
    if (events !== part) heldBack.push(...part.filter(holdsBack));
    const [first] = events;
    if (first === undefined) return true;
    if (!suspect || events.length === 1 || events.length < part.length) {
      const failure = await attempt(events);
      if (failure === undefined) return true;
      if (events.length === 1) {
        fail(first, reasonOf(failure.thrown), failure.thrown);
        return false;
      }
    }
    context.progress();
    const middle = Math.ceil(events.length / 2);
    const wasWell = await deliverPart(events.slice(0, middle), false);
    await deliverPart(events.slice(middle), wasWell);
    return false;
  }

  const tookAll = await deliverPart(batch.events, false);
  if (tookAll && failed.length === 0) return NOTHING;
  return { failed, heldBack: heldBack.toSorted((one, other) => one.position - other.position) };
}

function reasonOf(error: unknown): Omit<EventFailure, 'position'> {
  const reason = saidBy(error);
  if (!(error instanceof SinkError)) return { reason, retryable: true };
  const { kind, retryAfterMs } = error;
  return { reason, retryable: kind !== 'rejected' || retryAfterMs !== undefined, retryAfterMs };
}

/** Whatever it is that was thrown: it must not keep an event from being parked. */
function saidBy(error: unknown): string {
  const said: unknown = error instanceof Error ? error.message : error;
  if (said === undefined || said === '') return 'the handler threw without a word';
  return typeof said === 'string' ? said : shown(said);
}

/** What PostgreSQL refuses in JSON, a NUL or half a character, must not keep an event from being parked. */
function storable(reason: string): string {
  return reason.slice(0, LONGEST_REASON).replaceAll('\0', '\uFFFD').toWellFormed();
}

// What a reader does with a batch: of the log, or of parked events that are due.

import type { TickContext } from '@pulsebox/loop';
import type { StoreOutcome } from '../lease/store-cursor.ts';
import type { OutboxEvent } from '../log/event.ts';
import type { OutboxMetrics } from '../outbox-metrics.ts';
import { deliverCarefully } from '../parked/one-by-one.ts';
import { logParked } from '../parked/park-log.ts';
import { eventsToPark } from '../parked/park.ts';
import type { EventToPark } from '../parked/park.ts';
import type { ReadBatch } from '../read/batch.ts';
import type { LaneInHand, OpenLaneOptions } from './open-lane.ts';

export interface BatchOptions extends OpenLaneOptions {
  readonly metrics: OutboxMetrics | undefined;
  /** Called when the sink has taken something, or refused it: it is there. */
  readonly onSinkThere: () => void;
}

/**
 * Delivers a batch, stores the cursor behind it and parks what failed. Fenced: the lease was lost, nothing is stored.
 *
 * @throws as `deliver`
 */
export async function deliverBatch(
  { session, redrive, caution, overdue }: LaneInHand,
  batch: ReadBatch,
  { context, options }: { readonly context: TickContext; readonly options: BatchOptions },
): Promise<StoreOutcome> {
  const { lane, handler, order, deadlineMs, metrics } = options;
  // A batch that is not full was the end of the log: what comes after it is better read afresh.
  if (batch.reached === 'more' && !caution.oneByOne) session.readAhead(batch);
  const { free, held: waiting } = await redrive.sift(batch.events);
  const delivered = await deliverCarefully({
    delivery: {
      handler,
      batch: { ...lane, events: free },
      context: {
        signal: AbortSignal.any([context.signal, session.lease.signal]),
        fencingToken: session.lease.token,
        progress: () => context.progress(),
        log: context.log,
      },
      order,
      confirmLease: () => session.lease.renewNow(),
    },
    caution,
    overdue,
    deadlineMs,
  });
  if (free.length > 0) options.onSinkThere();
  const parking = eventsToPark(delivered, waiting, options.retry);
  if (parking.length > 0) redrive.expect(parking);
  const outcome = await session.advance(batch, parking);
  if (!outcome.advanced) return outcome;
  overdue.clear();
  if (parking.length > 0) logParked(context.log, lane.group, parking);
  if (metrics !== undefined) {
    const nowMs = batch.readAtMs + (performance.now() - batch.receivedAtMs);
    metrics.deliveryLag.observe(lane.group, without(batch.events, parking), nowMs);
  }
  await caution.passed(batch.events.length);
  return outcome;
}

/** Result: how many parked events were tried. @throws as `LaneRedrive.turn` */
export async function redriveDue(
  { session, redrive }: LaneInHand,
  { context, options }: { readonly context: TickContext; readonly options: BatchOptions },
): Promise<number> {
  const redriven = await redrive.turn(context);
  if (redriven === undefined) return 0;
  options.onSinkThere();
  session.countDelivered(redriven.delivered.length);
  options.metrics?.deliveryLag.observe(options.lane.group, redriven.delivered, redriven.atMs);
  return redriven.events;
}

function without(events: readonly OutboxEvent[], parking: readonly EventToPark[]): readonly OutboxEvent[] {
  if (parking.length === 0) return events;
  const parked = new Set(parking.map(({ event }) => event));
  return events.filter((event) => !parked.has(event));
}

// The reader of one lane: takes its lease, hands over batch after batch, stores, and reads ahead meanwhile.

import type { Jobs } from '@pulsebox/jobs';
import type { Logger, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import type { Queryable } from '@pulsebox/postgres';
import type { StartFrom } from '../group/consumer-group.ts';
import { registerGroup } from '../group/consumer-group.ts';
import type { DeliveryOrder } from '../deliver/deliver.ts';
import { createCaution } from '../parked/attempt-caution.ts';
import type { Caution } from '../parked/attempt-caution.ts';
import type { OutboxEvent } from '../log/event.ts';
import { finishResize } from '../group/finish-resize.ts';
import { deleteGoneQueues } from '../group/gone-queues.ts';
import type { Handler } from '../deliver/handler.ts';
import { announceLanes } from '../lease/lane-notice.ts';
import { openLaneSession } from './lane-session.ts';
import type { LaneSession, LaneSessionOptions } from './lane-session.ts';
import { leaseLost } from '../lease/lease-lost.ts';
import { deliverCarefully } from '../parked/one-by-one.ts';
import type { Overdue } from '../parked/one-by-one.ts';
import type { OutboxMetrics } from '../outbox-metrics.ts';
import { logParked } from '../parked/park-log.ts';
import { eventsToPark, storeCursorAndPark } from '../parked/park.ts';
import type { EventToPark } from '../parked/park.ts';
import { createPause } from './pause.ts';
import type { PauseOptions } from './pause.ts';
import type { ReadBatch } from '../read/read-batch.ts';
import { createLaneRedrive } from '../parked/redrive.ts';
import type { LaneRedrive } from '../parked/redrive.ts';
import type { Transact } from '../parked/redrive-attempt.ts';
import { createRedriveSchedule } from '../parked/redrive-schedule.ts';
import type { RedriveSchedule, Timer } from '../parked/redrive-schedule.ts';
import type { RetryPolicy } from '../deliver/retry.ts';
import { SinkError } from '../deliver/sink-error.ts';
import { announceSleep, nextRest } from './sleep.ts';
import type { LaneOfGroup } from '../lease/store-cursor.ts';
import type { Waker } from './waker.ts';

export interface LaneReaderOptions {
  /** Its queries end: one that is unanswered for as long as the lease lasts is of no use to its holder any more. */
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly handler: Handler;
  readonly holder: string;
  readonly waker: Waker;
  readonly metrics: OutboxMetrics | undefined;
  readonly batchSize: number;
  readonly startFrom: StartFrom;
  readonly pollMs: number;
  readonly idleWaitMs: number;
  readonly leaseTtlMs: number;
  readonly order: DeliveryOrder;
  readonly pause: PauseOptions;
  readonly retry: RetryPolicy;
  readonly jobs: Jobs | undefined;
  readonly transact: Transact;
  /** Of its ticks, in milliseconds. */
  readonly deadlineMs: number;
  /** Told of how many lanes this is one, whenever the reader asks the database. */
  readonly onLanes: (lanes: number) => void;
}

export interface LaneReader {
  /**
   * One batch, of the log or of parked events, if the lease can be had and there is something to deliver.
   *
   * @throws OUTBOX_LEASE_LOST when a batch could not be stored
   */
  turn(context: TickContext): Promise<TickResult>;
  /** Whether the lane is held, as far as is known here. */
  held(): boolean;
  /** Learns at once whether the lease is still held and whether somebody asks for it. Never throws. */
  renew(): Promise<void>;
  /** Whether the sink is away. */
  check(): LoopCheck;
  /** Gives the lease back. Idempotent; a later turn asks for it again. */
  close(): Promise<void>;
}

/** The lane for as long as its lease is held. */
interface Held {
  readonly session: LaneSession;
  readonly schedule: RedriveSchedule | undefined;
  readonly redrive: LaneRedrive;
  readonly caution: Caution;
  readonly overdue: Overdue;
  /** What the last reader left behind has been looked at. */
  begun: boolean;
  /** A batch of the log goes between two of parked events, so that neither keeps the other waiting. */
  mayRedrive: boolean;
}

/** Whoever asked tries every 50 ms: a reader that polls faster than that must not take the lane back first. */
const HANDED_OVER_FOR_MS = 250;
/** The other lanes are on their way to the barrier. */
const LOOK_AT_BARRIER_MS = 100;
/** Leases run out on the server's clock: a look at the very moment may come too early. */
const AFTER_EXPIRY_MS = 20;
const LEAST_STANDBY_MS = 50;

export function createLaneReader(options: LaneReaderOptions): LaneReader {
  const { db, lane, waker, batchSize, pollMs, idleWaitMs, leaseTtlMs } = options;
  const { group } = lane;
  const pause = createPause(group, options.pause, (paused) => options.metrics?.paused.set(group, paused));
  let held: Held | undefined;
  let standbyFor: string | undefined;
  let standbyMs = pollMs;
  let lastEventAtMs = performance.now();
  let announcedUntilMs = 0;
  let leftToOthersUntilMs = 0;

  async function turn(context: TickContext): Promise<TickResult> {
    const leftToOthersMs = leftToOthersUntilMs - performance.now();
    if (leftToOthersMs > 0) return { events: 0, nextInMs: leftToOthersMs };
    // Lost while nobody looked (a frozen process, a long rest): what is in memory is another's by now.
    if (held?.session.lease.signal.aborted === true) await close();
    held ??= await open(context.log);
    if (held === undefined) return { events: 0, nextInMs: standbyMs };
    const { session } = held;
    if (session.lease.wantedBy !== null) return await handOver(context.log, session.lease.wantedBy);
    const pausedMs = pause.remainingMs();
    // No longer than an idle rest at once: the lease is looked after in between, and so is one who asks for it.
    if (pausedMs > 0) return { events: 0, nextInMs: Math.min(pausedMs, idleWaitMs) };
    try {
      return await turnHeld(held, context);
    } catch (error) {
      session.forget();
      held?.schedule?.doubt();
      if (session.lease.signal.aborted) await close();
      if (!(error instanceof SinkError) || held === undefined) throw error;
      pause.begin(error, context.log);
      return { events: 0, nextInMs: Math.min(pause.remainingMs(), idleWaitMs) };
    }
  }

  async function turnHeld(from: Held, context: TickContext): Promise<TickResult> {
    const { session, redrive, caution } = from;
    if (!from.begun) await begin(from, context.log);
    // On the way to a barrier only what the log has: a redrive could be under way when the last lane arrives there.
    if (from.mayRedrive && session.state.barrier === null) {
      from.mayRedrive = false;
      const events = await redriveDue(from, context);
      if (events > 0) return { events, nextInMs: 0 };
    }
    const batch = await session.current(caution.oneByOne ? 1 : batchSize);
    // Read or not, nothing is handed to a handler without the lease: events of its keys may be further on elsewhere.
    session.lease.signal.throwIfAborted();
    from.mayRedrive = true;
    if (batch.reached === 'barrier') return await waitAtBarrier();
    if (batch.events.length === 0) {
      // Others' events alone: walk on.
      if (batch.reached === 'more') return { events: 0, nextInMs: 0 };
      await caution.passed('caughtUp');
      return { events: 0, nextInMs: Math.min(await restAfterEmptyLook(), redrive.nextLookInMs()) };
    }
    await deliverAndStore(from, batch, context);
    lastEventAtMs = performance.now();
    return { events: batch.events.length, nextInMs: 0 };
  }

  /** Parked events and the timers of those that are tried next, both or neither. */
  function parkingOn(timers: RedriveSchedule): NonNullable<LaneSessionOptions['storeAndPark']> {
    return async (stored, parking) => {
      await timers.prepare();
      return await options.transact(async (client) => {
        const outcome = await storeCursorAndPark(client, lane, stored, parking);
        if (outcome.advanced) await timers.set(client, parking.flatMap(timerOf));
        return outcome;
      });
    };
  }

  async function open(log: Logger): Promise<Held | undefined> {
    standbyMs = pollMs;
    const lanes = await registerGroup(db, group, options.startFrom);
    options.onLanes(lanes);
    // Anew with each lease: a group that was retired meanwhile has lost its queue.
    const schedule = options.jobs === undefined ? undefined : createRedriveSchedule(options.jobs, lane);
    if (lane.lane >= lanes) return undefined;
    const opened = await openLaneSession(
      {
        db,
        lane,
        holder: options.holder,
        leaseTtlMs,
        batchSize,
        ...(schedule === undefined ? {} : { storeAndPark: parkingOn(schedule) }),
      },
      {
        onRenewalError: (error) =>
          log.warn({ err: error, group }, 'the lease could not be renewed; trying again'),
        onWanted: () => waker.wake(),
      },
    );
    if (!opened.opened) {
      if (standbyFor !== opened.heldBy)
        log.info({ ...lane, heldBy: opened.heldBy }, 'standing by: another worker reads');
      standbyFor = opened.heldBy;
      standbyMs = restOnStandby(opened.expiresInMs);
      return undefined;
    }
    const { session } = opened;
    const { handler, order, retry, deadlineMs } = options;
    const { lease } = session;
    options.onLanes(session.state.slice.lanes);
    log.info({ ...lane, fencing: lease.token }, 'reading');
    standbyFor = undefined;
    options.metrics?.paused.set(group, false);
    return {
      session,
      schedule,
      redrive: createLaneRedrive({
        db,
        lane,
        lease,
        handler,
        order,
        batchSize,
        deadlineMs,
        schedule,
        policy: retry,
        transact: options.transact,
      }),
      caution: createCaution({
        db,
        lane: { ...lane, token: lease.token },
        batchSize,
        maxAttempts: retry.maxAttempts,
      }),
      overdue: new Map(),
      begun: false,
      mayRedrive: true,
    };
  }

  /**
   * A lane that is given back is told of, and one whose holder dies is free when its lease ends: before that there is
   * nothing to be had. A fleet that asked at every poll asked the database more than those who read.
   */
  function restOnStandby(expiresInMs: number): number {
    if (waker.state !== 'listening') return pollMs;
    return Math.min(Math.max(expiresInMs, LEAST_STANDBY_MS) + AFTER_EXPIRY_MS, Math.max(pollMs, idleWaitMs));
  }

  /** What the last reader of the lane left behind, if it died. */
  async function begin(from: Held, log: Logger): Promise<void> {
    const { session, redrive, caution } = from;
    const diedInRedrive = await redrive.recover(log);
    // A redrive and a batch of the log are never under way at once: then no batch was.
    await caution.begin({ followsDead: session.tookOver && !diedInRedrive, position: session.position });
    from.begun = true;
  }

  async function redriveDue({ session, redrive }: Held, context: TickContext): Promise<number> {
    const redriven = await redrive.turn(context);
    if (redriven === undefined) return 0;
    pause.end(context.log);
    session.countDelivered(redriven.delivered.length);
    options.metrics?.deliveryLag.observe(group, redriven.delivered, redriven.atMs);
    return redriven.events;
  }

  async function deliverAndStore(from: Held, batch: ReadBatch, context: TickContext): Promise<void> {
    const { session, redrive, caution, overdue } = from;
    // A batch that is not full was the end of the log: what comes after it is better read afresh.
    if (batch.reached === 'more' && !caution.oneByOne) session.readAhead(batch);
    const { free, held: waiting } = await redrive.sift(batch.events);
    const delivered = await deliverCarefully({
      delivery: {
        handler: options.handler,
        batch: { ...lane, events: free },
        context: {
          signal: AbortSignal.any([context.signal, session.lease.signal]),
          fencingToken: session.lease.token,
          progress: () => context.progress(),
          log: context.log,
        },
        order: options.order,
        confirmLease: () => session.lease.renewNow(),
      },
      caution,
      overdue,
      deadlineMs: options.deadlineMs,
    });
    // It took something or refused it: it is there.
    if (free.length > 0) pause.end(context.log);
    const parking = eventsToPark(delivered, waiting, options.retry);
    if (parking.length > 0) redrive.expect(parking);
    const outcome = await session.advance(batch, parking);
    if (!outcome.advanced) {
      await close();
      throw leaseLost(group, 'the batch');
    }
    overdue.clear();
    if (parking.length > 0) logParked(context.log, group, parking);
    observeDelivery(batch, parking);
    await caution.passed(batch.events.length);
  }

  async function restAfterEmptyLook(): Promise<number> {
    const notified = waker.state === 'listening';
    const rest = nextRest(performance.now() - lastEventAtMs, {
      notified,
      longestMs: notified ? idleWaitMs : pollMs,
    });
    const now = performance.now();
    if (!rest.asleep || announcedUntilMs > now + rest.ms) return rest.ms;
    const announcedForMs = idleWaitMs + 1_000;
    await announceSleep(db, announcedForMs);
    announcedUntilMs = now + announcedForMs - 500;
    // Look once more before sleeping: what was committed since the last look did not notify.
    return 1;
  }

  async function handOver(log: Logger, wantedBy: string): Promise<TickResult> {
    log.info({ ...lane, wantedBy }, 'handing the lane over');
    // Long enough for the one who asked to take it first; a wake-up in between must not cut it short.
    const leftForMs = Math.max(pollMs, HANDED_OVER_FOR_MS);
    await close(leftForMs);
    await announceLanes(db, group);
    leftToOthersUntilMs = performance.now() + leftForMs;
    return { events: 0, nextInMs: leftForMs };
  }

  /** There it stands, with nothing in flight, until the group's lanes are others. */
  async function waitAtBarrier(): Promise<TickResult> {
    if (!(await finishResize(db, group)))
      return { events: 0, nextInMs: Math.min(pollMs, LOOK_AT_BARRIER_MS) };
    await close();
    await announceLanes(db, group);
    await options.transact(async (client) => deleteGoneQueues(client, group));
    return { events: 0, nextInMs: 0 };
  }

  function observeDelivery(batch: ReadBatch, parking: readonly EventToPark[]): void {
    if (options.metrics === undefined) return;
    const nowMs = batch.readAtMs + (performance.now() - batch.receivedAtMs);
    options.metrics.deliveryLag.observe(group, without(batch.events, parking), nowMs);
  }

  async function close(reserveForMs?: number): Promise<void> {
    const closing = held;
    held = undefined;
    pause.forget();
    options.metrics?.paused.remove(group);
    // Away or not, the lease ends by itself; nothing is stored under it any more.
    await closing?.caution.end().catch(() => undefined);
    await closing?.session.close(reserveForMs).catch(() => undefined);
  }

  return {
    turn,
    held: () => held !== undefined && !held.session.lease.signal.aborted,
    renew: async () => held?.session.lease.renewNow(),
    check: () => pause.check(),
    close: () => close(),
  };
}

function timerOf({ event, failed }: EventToPark): Timer[] {
  if (failed?.verdict.state !== 'parked') return [];
  return [{ position: event.position, waitMs: failed.verdict.waitMs }];
}

function without(events: readonly OutboxEvent[], parking: readonly EventToPark[]): readonly OutboxEvent[] {
  if (parking.length === 0) return events;
  const parked = new Set(parking.map(({ event }) => event));
  return events.filter((event) => !parked.has(event));
}

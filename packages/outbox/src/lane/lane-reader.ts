// The reader of one lane: takes its lease, hands over batch after batch, stores, and reads ahead meanwhile.

import type { Logger, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import pg from 'pg';
import { SinkError } from '../deliver/sink-error.ts';
import { registerGroup } from '../group/consumer-group.ts';
import type { StartFrom } from '../group/consumer-group.ts';
import { finishResize } from '../group/finish-resize.ts';
import { deleteGoneQueues } from '../group/gone-queues.ts';
import { announceLanes } from '../lease/lane-notice.ts';
import { leaseLost } from '../lease/lease-lost.ts';
import type { OutboxMetrics } from '../outbox-metrics.ts';
import { deliverBatch, redriveDue } from './lane-batch.ts';
import { beginLane, openLane } from './open-lane.ts';
import type { LaneInHand, OpenLaneOptions } from './open-lane.ts';
import { createPause } from './pause.ts';
import type { PauseOptions } from './pause.ts';
import { forgetPause, notePause } from './pause-note.ts';
import { createRests } from './sleep.ts';
import type { Waker } from './waker.ts';

export interface LaneReaderOptions extends OpenLaneOptions {
  readonly waker: Waker;
  readonly metrics: OutboxMetrics | undefined;
  readonly startFrom: StartFrom;
  readonly pollMs: number;
  readonly idleWaitMs: number;
  readonly pause: PauseOptions;
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

/** Whoever asked tries every 50 ms: a reader that polls faster than that must not take the lane back first. */
const HANDED_OVER_FOR_MS = 250;
/** The other lanes are on their way to the barrier. */
const LOOK_AT_BARRIER_MS = 100;
/** Leases run out on the server's clock: a look at the very moment may come too early. */
const AFTER_EXPIRY_MS = 20;
const LEAST_STANDBY_MS = 50;

export function createLaneReader(options: LaneReaderOptions): LaneReader {
  const { db, lane, waker, batchSize, pollMs, idleWaitMs } = options;
  const { group } = lane;
  const pause = createPause(group, options.pause, (paused) => options.metrics?.paused.set(group, paused));
  const rests = createRests({ db, pollMs, idleWaitMs, notified: () => waker.state === 'listening' });
  let held: LaneInHand | undefined;
  /** Under which token the database may have been told of a pause that it has not been told the end of. */
  let notedUnder: number | undefined;
  let standbyFor: string | undefined;
  let standbyMs = pollMs;
  let leftToOthersUntilMs = 0;

  async function turn(context: TickContext): Promise<TickResult> {
    const leftToOthersMs = leftToOthersUntilMs - performance.now();
    if (leftToOthersMs > 0) return { events: 0, nextInMs: leftToOthersMs };
    // Lost while nobody looked (a frozen process, a long rest): what is in memory is another's by now.
    if (held?.session.lease.signal.aborted === true) await close();
    held ??= await open(context.log);
    if (held === undefined) return { events: 0, nextInMs: standbyMs };
    const inHand = held;
    const { session } = inHand;
    if (session.lease.wantedBy !== null) return await handOver(context.log, session.lease.wantedBy);
    const pausedMs = pause.remainingMs();
    // No longer than an idle rest at once: the lease is looked after in between, and so is one who asks for it.
    if (pausedMs > 0) return { events: 0, nextInMs: Math.min(pausedMs, idleWaitMs) };
    try {
      const result = await turnHeld(inHand, context);
      // Only of its end: a look that finds nothing to try is no try, and may come with every event of other lanes.
      if (notedUnder !== undefined && pause.note() === undefined) await noteFor(inHand, context.log);
      return result;
    } catch (error) {
      session.forget();
      rests.doubt();
      held?.schedule?.doubt();
      if (session.lease.signal.aborted) await close();
      if (!(error instanceof SinkError) || held === undefined) throw error;
      pause.begin(error, context.log);
      await noteFor(inHand, context.log);
      return { events: 0, nextInMs: Math.min(pause.remainingMs(), idleWaitMs) };
    }
  }

  /** Tells the database of the pause, or of its end. For people alone: a note that fails keeps nothing up. */
  async function noteFor({ session }: LaneInHand, log: Logger): Promise<void> {
    const { token } = session.lease;
    const note = pause.note();
    const before = notedUnder;
    try {
      if (note === undefined) {
        if (before === token) await forgetPause(db, { ...lane, token });
        notedUnder = undefined;
      } else {
        notedUnder = token;
        await notePause(db, { ...lane, token }, note);
      }
    } catch (error) {
      // What the server has refused is not there; what was not answered may be.
      if (error instanceof pg.DatabaseError) notedUnder = before;
      log.debug({ err: error, group }, 'the database could not be told of the pause');
    }
  }

  async function turnHeld(inHand: LaneInHand, context: TickContext): Promise<TickResult> {
    const { session, redrive, caution } = inHand;
    if (!inHand.begun) await beginLane(inHand, context.log);
    const work = { context, options: { ...options, onSinkThere: () => pause.end(context.log) } };
    // On the way to a barrier only what the log has: a redrive could be under way when the last lane arrives there.
    if (inHand.mayRedrive && session.state.barrier === null) {
      inHand.mayRedrive = false;
      const events = await redriveDue(inHand, work);
      if (events > 0) return { events, nextInMs: 0 };
    }
    const batch = await session.current(caution.oneByOne ? 1 : batchSize);
    // Read or not, nothing is handed to a handler without the lease: events of its keys may be further on elsewhere.
    session.lease.signal.throwIfAborted();
    inHand.mayRedrive = true;
    if (batch.reached === 'barrier') return await waitAtBarrier();
    if (batch.events.length === 0) {
      // Others' events alone: walk on.
      if (batch.reached === 'more') return { events: 0, nextInMs: 0 };
      await caution.passed('caughtUp');
      return { events: 0, nextInMs: Math.min(await rests.afterEmptyLook(), redrive.nextLookInMs()) };
    }
    rests.found();
    const outcome = await deliverBatch(inHand, batch, work);
    if (!outcome.advanced) {
      await close();
      throw leaseLost(group, 'the batch');
    }
    rests.delivered();
    return { events: batch.events.length, nextInMs: 0 };
  }

  async function open(log: Logger): Promise<LaneInHand | undefined> {
    standbyMs = pollMs;
    const lanes = await registerGroup(db, group, options.startFrom);
    options.onLanes(lanes);
    if (lane.lane >= lanes) return undefined;
    const opened = await openLane(options, {
      onRenewalError: (error) =>
        log.warn({ err: error, group }, 'the lease could not be renewed; trying again'),
      onWanted: () => waker.wake(),
    });
    if (!opened.opened) {
      if (standbyFor !== opened.heldBy)
        log.info({ ...lane, heldBy: opened.heldBy }, 'standing by: another worker reads');
      standbyFor = opened.heldBy;
      standbyMs = restOnStandby(opened.expiresInMs);
      return undefined;
    }
    const { session } = opened.inHand;
    options.onLanes(session.state.slice.lanes);
    log.info({ ...lane, fencing: session.lease.token }, 'reading');
    standbyFor = undefined;
    options.metrics?.paused.set(group, false);
    return opened.inHand;
  }

  /**
   * A lane that is given back is told of, and one whose holder dies is free when its lease ends: before that there is
   * nothing to be had. A fleet that asked at every poll asked the database more than those who read.
   */
  function restOnStandby(expiresInMs: number): number {
    if (waker.state !== 'listening') return pollMs;
    return Math.min(Math.max(expiresInMs, LEAST_STANDBY_MS) + AFTER_EXPIRY_MS, Math.max(pollMs, idleWaitMs));
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

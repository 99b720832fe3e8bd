// Parked events of one lane, tried again by the lane's own reader between two batches: never beside one, so that a
// handler never runs twice at once for a lane, and under the same lease.

import type { Job } from '@pulsebox/jobs';
import type { Logger, TickContext } from '@pulsebox/loop';
import type { HeldLease, Queryable } from '@pulsebox/postgres';
import { isPastDeadline } from '../deliver/deadline.ts';
import { deliver } from '../deliver/deliver.ts';
import type { Delivered, DeliveryOrder } from '../deliver/deliver.ts';
import type { OutboxEvent } from '../log/event.ts';
import type { Handler } from '../deliver/handler.ts';
import { leaseLost } from '../lease/lease-lost.ts';
import { overdueFailure } from './one-by-one.ts';
import { siftHeldKeys } from './park-keys.ts';
import type { Sifted } from './park-keys.ts';
import { logRedriven } from './park-log.ts';
import type { EventToPark } from './park.ts';
import { claimParked, interruptedAttempts, undoClaim } from './redrive-claim.ts';
import type { ClaimedEvent, HeldLane } from './redrive-claim.ts';
import { hasParked, lookAtDue } from './redrive-due.ts';
import type { DueEvent } from './redrive-due.ts';
import type { RedriveSchedule } from './redrive-schedule.ts';
import { settleParked } from './redrive-settle.ts';
import type { Settlement } from './redrive-settle.ts';
import { verdictOn } from '../deliver/retry.ts';
import type { RetryPolicy } from '../deliver/retry.ts';
import type { LaneOfGroup } from '../lease/store-cursor.ts';

export interface LaneRedriveOptions {
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly lease: HeldLease;
  readonly handler: Handler;
  readonly order: DeliveryOrder;
  readonly batchSize: number;
  readonly policy: RetryPolicy;
  readonly deadlineMs: number;
  /** Undefined: events are tried when their rows say that they are due. */
  readonly schedule: RedriveSchedule | undefined;
  readonly transact: Transact;
}

/** Runs the work in a transaction that ends, and commits it. */
export type Transact = <T>(work: (client: Queryable) => Promise<T>) => Promise<T>;

export interface Redriven {
  /** How many were tried. */
  readonly events: number;
  readonly delivered: readonly OutboxEvent[];
  /** When they were, in milliseconds since 1970 on the database's clock. */
  readonly atMs: number;
}

/** For as long as the lane's lease is held. */
export interface LaneRedrive {
  /**
   * Once, before the first batch: attempts that were under way when the last reader of the lane died are counted as
   * failed. Whether there were any: then no batch was under way, since the one is never done beside the other.
   */
  recover(log: Logger): Promise<boolean>;
  /** Parts what may be handed over from what stands behind parked events. Asks nothing while nothing is parked. */
  sift(events: readonly OutboxEvent[]): Promise<Sifted>;
  /** These are about to be parked. */
  expect(events: readonly EventToPark[]): void;
  /**
   * Tries what is due, a batch at most. Undefined: nothing is.
   *
   * @throws SinkError of the kind `away`: no attempt was made; OUTBOX_LEASE_LOST; the signal's reason
   */
  turn(context: TickContext): Promise<Redriven | undefined>;
  /** Milliseconds until `turn` looks again. */
  nextLookInMs(): number;
}

/** How often a lane with, or without parked events is looked at for what no timer here knows of, such as a replay. */
const LOOK_WITH_PARKED_MS = 1_000;
const LOOK_WITHOUT_MS = 5_000;

export function createLaneRedrive(options: LaneRedriveOptions): LaneRedrive {
  const { db, lease, order, batchSize, policy } = options;
  const { group } = options.lane;
  const lane: HeldLane = { ...options.lane, token: lease.token };
  /** False only while no event of this group can be parked: this reader alone parks those of its keys. */
  let anyParked = true;
  let nextLookAtMs = 0;
  /** A statement ended in an error: whether the server has carried it out is known only to the server. */
  let inDoubt = false;
  /** Were in a batch that ran past its deadline. */
  const suspects = new Set<number>();
  /** Timers that have run out and are not ended yet, by the positions of their events. */
  const timers = new Map<number, Job>();

  async function recover(log: Logger): Promise<boolean> {
    anyParked = await hasParked(db, lane);
    if (!anyParked) return false;
    const interrupted = await interruptedAttempts(db, lane);
    if (interrupted.length === 0) return false;
    const failed = interrupted.map(({ event, attempts }) => {
      const failure = { reason: 'the worker ended during this attempt', retryable: true };
      return { event, failed: { failure, attempts, verdict: verdictOn(failure, attempts, policy) } };
    });
    await options.schedule?.prepare();
    await settle({
      delivered: [],
      failed: failed.map((one) => ({ ...one.failed, position: one.event.position, workerEnded: true })),
    });
    logRedriven(log, group, { delivered: [], failed });
    return true;
  }

  async function turn(context: TickContext): Promise<Redriven | undefined> {
    if (performance.now() < nextLookAtMs) return undefined;
    if (inDoubt) await settleDoubt();
    const due = await lookAtDue(db, lane, { order, limit: batchSize + 1 });
    anyParked = due.length > 0 || (anyParked && (await hasParked(db, lane)));
    const ready = due.filter(({ dueInMs }) => dueInMs <= 0);
    const nextInMs = due.find(({ dueInMs }) => dueInMs > 0)?.dueInMs ?? Infinity;
    if (ready.length === 0) {
      const lookInMs = anyParked ? LOOK_WITH_PARKED_MS : LOOK_WITHOUT_MS;
      nextLookAtMs = performance.now() + Math.min(lookInMs, nextInMs);
      return undefined;
    }
    const positions = pick(ready);
    if (options.schedule !== undefined) {
      await takeTimers(options.schedule, positions);
      // What is due beyond the last that was looked at may have timers, too.
      if (due.length <= batchSize)
        await endStale(options.schedule, new Set(due.map(({ position }) => position)));
    }
    return await redrive(positions, context);
  }

  async function takeTimers(schedule: RedriveSchedule, positions: readonly number[]): Promise<void> {
    const missing = (): number[] => positions.filter((position) => !timers.has(position));
    const take = async (limit: number): Promise<void> => {
      for (const [position, job] of await schedule.take(limit)) timers.set(position, job);
    };
    if (missing().length === 0) return;
    await schedule.prepare();
    await take(batchSize);
    const without = missing();
    if (without.length === 0) return;
    await schedule.set(
      db,
      without.map((position) => ({ position, waitMs: 0 })),
    );
    await take(batchSize);
  }

  /** Of events that were discarded, delivered by a zombie's sink, or moved to another lane meanwhile. */
  async function endStale(schedule: RedriveSchedule, scheduled: ReadonlySet<number>): Promise<void> {
    const stale = [...timers].filter(([position]) => !scheduled.has(position));
    if (stale.length === 0) return;
    for (const [position] of stale) timers.delete(position);
    await schedule.end(
      db,
      stale.map(([, job]) => job),
    );
  }

  /** All that is due, or one alone: whichever ends its worker takes no other with it. */
  function pick(ready: readonly DueEvent[]): number[] {
    const suspect = ready.find(({ alone, position }) => alone || suspects.has(position));
    if (suspect !== undefined) return [suspect.position];
    return ready.slice(0, batchSize).map(({ position }) => position);
  }

  async function redrive(positions: readonly number[], context: TickContext): Promise<Redriven | undefined> {
    inDoubt = true;
    const claimed = await claimParked(db, lane, positions);
    inDoubt = false;
    if (claimed.length === 0) {
      await lease.renewNow();
      lease.signal.throwIfAborted();
      // An operator has them under his hands.
      nextLookAtMs = performance.now() + LOOK_WITH_PARKED_MS;
      return undefined;
    }
    const events = claimed.map(({ event }) => event);
    const signal = AbortSignal.any([context.signal, lease.signal]);
    let delivered: Delivered;
    try {
      // Before the handler runs: nothing is handed over without the lease.
      signal.throwIfAborted();
      delivered = await deliver({
        handler: options.handler,
        batch: { group, lane: lane.lane, events },
        context: {
          signal,
          fencingToken: lease.token,
          progress: () => context.progress(),
          log: context.log,
        },
        order,
        confirmLease: () => lease.renewNow(),
      });
    } catch (error) {
      const late = isPastDeadline(signal);
      const [only, ...more] = events;
      if (!late || only === undefined || more.length > 0) {
        if (late) for (const { position } of events) suspects.add(position);
        await undo(events);
        throw error;
      }
      delivered = { failed: [overdueFailure(only, options.deadlineMs, error)], heldBack: [] };
    }
    return await conclude(claimed, delivered, context.log);
  }

  async function conclude(
    claimed: readonly ClaimedEvent[],
    outcome: Delivered,
    log: Logger,
  ): Promise<Redriven> {
    const attemptsOf = new Map(claimed.map(({ event, attempts }) => [event.position, attempts]));
    const failed = outcome.failed.map((failure) => {
      const attempts = attemptsOf.get(failure.event.position) ?? 1;
      return {
        event: failure.event,
        failed: { failure, attempts, verdict: verdictOn(failure, attempts, policy) },
      };
    });
    const others = new Set([...failed.map(({ event }) => event), ...outcome.heldBack]);
    const delivered = claimed.filter(({ event }) => !others.has(event));
    await settle({
      delivered: delivered.map(({ event }) => event.position),
      failed: failed.map((one) => ({ ...one.failed, position: one.event.position })),
    });
    if (outcome.heldBack.length > 0) await undo(outcome.heldBack);
    for (const { event } of claimed) suspects.delete(event.position);
    logRedriven(log, group, { delivered, failed });
    const claim = claimed[0];
    return {
      events: claimed.length,
      delivered: delivered.map(({ event }) => event),
      atMs: claim === undefined ? 0 : claim.claimedAtMs + (performance.now() - claim.receivedAtMs),
    };
  }

  /** The outcome, and the end of the timers that it came from, both or neither. */
  async function settle(settlement: Settlement): Promise<void> {
    const { schedule, transact } = options;
    const positions = [...settlement.delivered, ...settlement.failed.map(({ position }) => position)];
    inDoubt = true;
    const outcome =
      schedule === undefined
        ? await settleParked(db, lane, settlement)
        : await transact(async (client) => {
            const settled = await settleParked(client, lane, settlement);
            if (!settled.advanced) return settled;
            await schedule.end(
              client,
              positions.flatMap((position) => timers.get(position) ?? []),
            );
            await schedule.set(
              client,
              settlement.failed.flatMap(({ position, verdict }) =>
                verdict.state === 'parked' ? [{ position, waitMs: verdict.waitMs }] : [],
              ),
            );
            return settled;
          });
    inDoubt = false;
    for (const position of positions) timers.delete(position);
    if (!outcome.advanced) throw leaseLost(group, 'the outcome of a redrive');
  }

  /** No verdict: the attempt does not count. */
  async function undo(events: readonly OutboxEvent[]): Promise<void> {
    try {
      await undoClaim(
        db,
        lane,
        events.map(({ position }) => position),
      );
    } catch {
      // What failed before matters more; this is made up for at the next look.
      inDoubt = true;
    }
  }

  /** Whatever has an attempt under way now has none: either it never began, or its outcome could not be stored. */
  async function settleDoubt(): Promise<void> {
    const begun = await interruptedAttempts(db, lane);
    await undoClaim(
      db,
      lane,
      begun.map(({ event }) => event.position),
    );
    inDoubt = false;
  }

  return {
    recover,
    async sift(events): Promise<Sifted> {
      if (order === 'none' || !anyParked) return { free: events, held: [] };
      return await siftHeldKeys(db, group, events);
    },
    expect(events): void {
      anyParked = true;
      const waits = events.map(({ failed }) =>
        failed?.verdict.state === 'parked' ? failed.verdict.waitMs : LOOK_WITH_PARKED_MS,
      );
      nextLookAtMs = Math.min(nextLookAtMs, performance.now() + Math.min(...waits));
    },
    turn,
    nextLookInMs: () => Math.max(0, nextLookAtMs - performance.now()),
  };
}

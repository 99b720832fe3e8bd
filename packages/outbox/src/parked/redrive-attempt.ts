// An attempt at parked events: counted, handed over, and settled, all under the lane's lease.

import type { Logger, TickContext } from '@pulsebox/loop';
import type { HeldLease, Queryable } from '@pulsebox/postgres';
import { isPastDeadline } from '../deliver/deadline.ts';
import { deliver } from '../deliver/deliver.ts';
import type { Delivered, DeliveryOrder } from '../deliver/deliver.ts';
import type { Handler } from '../deliver/handler.ts';
import { verdictOn } from '../deliver/retry.ts';
import type { RetryPolicy } from '../deliver/retry.ts';
import { leaseLost } from '../lease/lease-lost.ts';
import { fitting } from '../log/event-rows.ts';
import type { OutboxEvent } from '../log/event.ts';
import { overdueFailure } from './one-by-one.ts';
import { logRedriven } from './park-log.ts';
import { claimParked, interruptedAttempts, undoClaim } from './redrive-claim.ts';
import type { ClaimedEvent } from './redrive-claim.ts';
import type { HeldLane } from '../lease/lane-of-group.ts';
import { behindGaps } from './redrive-followers.ts';
import type { Chain } from './redrive-followers.ts';
import { settleParked } from './redrive-settle.ts';
import type { Settlement } from './redrive-settle.ts';
import type { LaneTimers } from './redrive-timers.ts';

/** Runs the work in a transaction that ends, and commits it. */
export type Transact = <T>(work: (client: Queryable) => Promise<T>) => Promise<T>;

export interface AttemptsOptions {
  readonly db: Queryable;
  readonly lane: HeldLane;
  readonly lease: HeldLease;
  readonly handler: Handler;
  readonly order: DeliveryOrder;
  readonly policy: RetryPolicy;
  readonly deadlineMs: number;
  /** Of the JSON of a batch, in characters. */
  readonly batchCharacters: number;
  readonly timers: LaneTimers | undefined;
  readonly transact: Transact;
}

export interface Redriven {
  /** How many were tried. */
  readonly events: number;
  readonly delivered: readonly OutboxEvent[];
  /** When they were, in milliseconds since 1970 on the database's clock. */
  readonly atMs: number;
}

/** For as long as the lane's lease is held. */
export interface Attempts {
  /** Counts those as failed that were under way when the last reader of the lane died. Whether there were any. */
  settleInterrupted(log: Logger): Promise<boolean>;
  /** After an attempt that ended in an error: makes sure that none is under way by the rows. */
  settleDoubt(): Promise<void>;
  /** Undefined: an operator has all of them under his hands. Throws what `LaneRedrive.turn` throws. */
  attempt(chains: readonly Chain[], context: TickContext): Promise<Redriven | undefined>;
  /** How many events fit into a batch that are as large as the last ones. */
  mostEvents(): number;
  /** It was in a batch that ran past its deadline, and is tried alone. */
  isSuspect(position: number): boolean;
}

export function createAttempts(options: AttemptsOptions): Attempts {
  const { db, lane, lease, order, policy, timers, batchCharacters } = options;
  const { group } = lane;
  /** A statement ended in an error: whether the server has carried it out is known only to the server. */
  let inDoubt = false;
  const suspects = new Set<number>();
  let fits = Infinity;

  async function settleInterrupted(log: Logger): Promise<boolean> {
    const interrupted = await interruptedAttempts(db, lane);
    if (interrupted.length === 0) return false;
    const failed = interrupted.map(({ event, attempts }) => {
      const failure = { reason: 'the worker ended during this attempt', retryable: true };
      return { event, failed: { failure, attempts, verdict: verdictOn(failure, attempts, policy) } };
    });
    await timers?.prepare();
    await settle({
      delivered: [],
      failed: failed.map((one) => ({ ...one.failed, position: one.event.position, workerEnded: true })),
      heldBack: [],
    });
    logRedriven(log, group, { delivered: [], failed });
    return true;
  }

  /** Whatever has an attempt under way now has none: either it never began, or its outcome could not be stored. */
  async function settleDoubt(): Promise<void> {
    if (!inDoubt) return;
    const begun = await interruptedAttempts(db, lane);
    await undoClaim(db, lane, positionsOf(begun));
    inDoubt = false;
  }

  async function attempt(chains: readonly Chain[], context: TickContext): Promise<Redriven | undefined> {
    const claimed = await claim(chains);
    if (claimed.length === 0) {
      await lease.renewNow();
      lease.signal.throwIfAborted();
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
        await undo(claimed);
        throw error;
      }
      delivered = { failed: [overdueFailure(only, options.deadlineMs, error)], heldBack: [] };
    }
    return await conclude(claimed, delivered, context.log);
  }

  async function claim(chains: readonly Chain[]): Promise<readonly ClaimedEvent[]> {
    inDoubt = true;
    const { claimed, leftOut, size } = await claimParked(db, lane, {
      positions: chains.flat(),
      mostCharacters: batchCharacters,
    });
    inDoubt = false;
    if (claimed.length > 0) fits = fitting(claimed.length, size, batchCharacters);
    const behind = new Set(behindGaps(chains, new Set(positionsOf(claimed))));
    if (behind.size === 0 && leftOut.length === 0) return claimed;
    inDoubt = true;
    await undoClaim(db, lane, [...leftOut, ...behind]);
    inDoubt = false;
    return claimed.filter(({ event }) => !behind.has(event.position));
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
      delivered: positionsOf(delivered),
      failed: failed.map((one) => ({ ...one.failed, position: one.event.position })),
      heldBack: outcome.heldBack.map(({ position }) => position),
    });
    for (const { event } of claimed) suspects.delete(event.position);
    logRedriven(log, group, { delivered, failed });
    const first = claimed[0];
    return {
      events: claimed.length,
      delivered: delivered.map(({ event }) => event),
      atMs: first === undefined ? 0 : first.claimedAtMs + (performance.now() - first.receivedAtMs),
    };
  }

  /** The outcome, and the end of the timers that it came from, both or neither. */
  async function settle(settlement: Settlement): Promise<void> {
    inDoubt = true;
    const outcome =
      timers === undefined
        ? await settleParked(db, lane, settlement)
        : await options.transact(async (client) => {
            const settled = await settleParked(client, lane, settlement);
            if (settled.advanced) await timers.settle(client, settlement);
            return settled;
          });
    inDoubt = false;
    timers?.forget([...settlement.delivered, ...settlement.failed.map(({ position }) => position)]);
    if (!outcome.advanced) throw leaseLost(group, 'the outcome of a redrive');
  }

  /** No verdict: the attempt does not count. */
  async function undo(claimed: readonly ClaimedEvent[]): Promise<void> {
    try {
      await undoClaim(db, lane, positionsOf(claimed));
    } catch {
      // What failed before matters more; this is made up for at the next look.
      inDoubt = true;
    }
  }

  return {
    settleInterrupted,
    settleDoubt,
    attempt,
    mostEvents: () => fits,
    isSuspect: (position) => suspects.has(position),
  };
}

function positionsOf(claimed: readonly ClaimedEvent[]): number[] {
  return claimed.map(({ event }) => event.position);
}

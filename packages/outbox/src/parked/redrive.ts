// Parked events of one lane, tried again by the lane's own reader between two batches: never beside one, so that a
// handler never runs twice at once for a lane, and under the same lease.

import type { Logger, TickContext } from '@pulsebox/loop';
import type { OutboxEvent } from '../log/event.ts';
import type { HeldLane, LaneOfGroup } from '../lease/lane-of-group.ts';
import { siftHeldKeys } from './park-keys.ts';
import type { Sifted } from './park-keys.ts';
import type { EventToPark } from './park.ts';
import { createAttempts } from './redrive-attempt.ts';
import type { AttemptsOptions, Redriven } from './redrive-attempt.ts';
import { hasParked, lookAtDue } from './redrive-due.ts';
import type { DueEvent } from './redrive-due.ts';
import { withFollowers } from './redrive-followers.ts';
import type { Chain } from './redrive-followers.ts';
import { releaseWaiting } from './release-waiting.ts';
import type { RedriveSchedule } from './redrive-schedule.ts';
import { createLaneTimers } from './redrive-timers.ts';

export interface LaneRedriveOptions extends Omit<AttemptsOptions, 'lane' | 'timers'> {
  readonly lane: LaneOfGroup;
  readonly batchSize: number;
  /** Undefined: events are tried when their rows say that they are due. */
  readonly schedule: RedriveSchedule | undefined;
}

/** For as long as the lane's lease is held. */
export interface LaneRedrive {
  /**
   * Once, before the first batch: attempts that were under way when the last reader of the lane died are counted as
   * failed. Whether there were any: then no batch was under way, since the one is never done beside the other.
   * In a group that keeps no order, what waits behind others from a time when it did is due from now on.
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
  const { db, lease, order, batchSize, schedule } = options;
  const { group } = options.lane;
  const lane: HeldLane = { ...options.lane, token: lease.token };
  const timers = schedule === undefined ? undefined : createLaneTimers(db, schedule, batchSize);
  const attempts = createAttempts({ ...options, lane, timers });
  /** False only while no event of this group can be parked: this reader alone parks those of its keys. */
  let anyParked = true;
  let nextLookAtMs = 0;

  async function recover(log: Logger): Promise<boolean> {
    anyParked = await hasParked(db, lane);
    if (!anyParked) return false;
    const interrupted = await attempts.settleInterrupted(log);
    if (order === 'none') {
      const released = await releaseWaiting(db, lane);
      if (released > 0)
        log.info(
          { group, lane: lane.lane, released },
          'the group keeps no order any more: what waited behind parked events is tried now',
        );
    }
    return interrupted;
  }

  async function turn(context: TickContext): Promise<Redriven | undefined> {
    if (performance.now() < nextLookAtMs) return undefined;
    await attempts.settleDoubt();
    const due = await lookAtDue(db, lane, { order, limit: batchSize + 1 });
    anyParked = due.length > 0 || (anyParked && (await hasParked(db, lane)));
    const ready = due.filter(({ dueInMs }) => dueInMs <= 0);
    const nextInMs = due.find(({ dueInMs }) => dueInMs > 0)?.dueInMs ?? Infinity;
    if (ready.length === 0) {
      const lookInMs = anyParked ? LOOK_WITH_PARKED_MS : LOOK_WITHOUT_MS;
      nextLookAtMs = performance.now() + Math.min(lookInMs, nextInMs);
      return undefined;
    }
    const chains = await pick(ready);
    await timers?.take(chains.flatMap(([head = 0]) => head));
    // What is due beyond the last that was looked at may have timers, too.
    if (due.length <= batchSize) await timers?.endStale(new Set(due.map(({ position }) => position)));
    const redriven = await attempts.attempt(chains, context);
    if (redriven === undefined) nextLookAtMs = performance.now() + LOOK_WITH_PARKED_MS;
    return redriven;
  }

  /** All that is due, and what may go out with it; or one alone: whichever ends its worker takes no other with it. */
  async function pick(ready: readonly DueEvent[]): Promise<Chain[]> {
    const { isSuspect } = attempts;
    const suspect = ready.find(({ alone, position }) => alone || isSuspect(position));
    if (suspect !== undefined) return [[suspect.position]];
    const limit = Math.min(batchSize, attempts.mostEvents());
    const heads = ready.slice(0, limit);
    if (order === 'none') return heads.map(({ position }) => [position]);
    return await withFollowers(db, lane, { heads, limit, isSuspect });
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

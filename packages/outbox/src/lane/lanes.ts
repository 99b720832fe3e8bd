// The lanes of a group that one worker reads: each by a reader of its own, served in turn, a batch at a time.

import type { LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import { requestHandover } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import { laneHolders } from '../lease/lane-holders.ts';
import { announceLanes } from '../lease/lane-notice.ts';
import type { LaneReader } from './lane-reader.ts';
import { stepOf } from '../lease/share-lanes.ts';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { Waker } from './waker.ts';

export interface LanesOptions {
  readonly db: Queryable;
  readonly group: string;
  /** Who holds the leases. No other worker has the same. */
  readonly holder: string;
  readonly waker: Waker;
  readonly pollMs: number;
  readonly leaseTtlMs: number;
  /** The longest that a turn may leave to the next, in milliseconds. */
  readonly longestRestMs: number;
  /** `onLanes` is to be called with the number of lanes whenever the reader learns of it. */
  readonly createReader: (lane: number, onLanes: (lanes: number) => void) => LaneReader;
}

export interface Lanes {
  /** One batch of one lane, if there is one. Throws what the lane's reader throws. */
  turn(context: TickContext): Promise<TickResult>;
  /** There may be something to read: no lane rests any longer. */
  woken(): void;
  check(): LoopCheck;
  /** Gives all lanes back, and tells the others. Idempotent; a later turn asks for them again. */
  close(): Promise<void>;
}

interface Served {
  readonly lane: number;
  readonly reader: LaneReader;
  /** On the local monotonic clock. */
  dueAtMs: number;
  /** Until then it keeps asking for a lane that it was promised. */
  pursuedUntilMs: number;
}

/** Leases run out on the server's clock: a look at the very moment may come too early. */
const AFTER_EXPIRY_MS = 20;
/** A database that takes longer to take lanes back is away, or as good as that. */
const LONGEST_CLOSE_MS = 2_000;

/**
 * A group of one lane needs no look at who holds what: its reader asks for the lane, or stands by. With several, a worker
 * looks every third of a lease, when a lane of somebody else's runs out, and when it is told that lanes have moved.
 */
export function createLanes(options: LanesOptions): Lanes {
  const { db, group, holder: me, pollMs, leaseTtlMs, longestRestMs } = options;
  const lookEveryMs = leaseTtlMs / 3;
  const readers = new Map<number, LaneReader>();
  /** Of readers whose lanes are no more. */
  const closing = new Set<Promise<void>>();
  /** Free lanes that were left to others, and since when. */
  const leftSinceMs = new Map<number, number>();
  let lanes = 1;
  let served: Served[] = [serve(0)];
  let nextLookAtMs = 0;
  let noticed = false;
  const forgetNotices = options.waker.onLanes(group, () => {
    noticed = true;
    nextLookAtMs = 0;
  });

  function serve(lane: number): Served {
    const reader = readers.get(lane) ?? options.createReader(lane, changeLanes);
    readers.set(lane, reader);
    return { lane, reader, dueAtMs: 0, pursuedUntilMs: 0 };
  }

  function changeLanes(now: number): void {
    if (now === lanes) return;
    lanes = now;
    nextLookAtMs = 0;
    leftSinceMs.clear();
    for (const [lane, reader] of readers) if (lane >= now) retire(lane, reader);
  }

  /** It stands at a barrier, or has just found out; what it says of its lane must not stay. */
  function retire(lane: number, reader: LaneReader): void {
    readers.delete(lane);
    served = served.filter((one) => one.lane !== lane);
    const ended = reader.close().finally(() => closing.delete(ended));
    closing.add(ended);
  }

  async function turn(context: TickContext): Promise<TickResult> {
    if (lanes === 1) return await turnTheOne(context);
    if (performance.now() >= nextLookAtMs) await lookAround(context);
    const next = served.find(({ dueAtMs }) => dueAtMs <= performance.now());
    if (next === undefined) return { events: 0, nextInMs: restMs() };
    // To the end of the line, whatever becomes of its turn.
    served = [...served.filter((one) => one !== next), next];
    next.dueAtMs = performance.now() + pollMs;
    const wasHeld = next.reader.held();
    try {
      const { events, nextInMs = 0 } = await next.reader.turn(context);
      // One that was promised is asked for often: it is kept for so long, and no longer.
      next.dueAtMs = performance.now() + (next.reader.held() ? nextInMs : Math.min(nextInMs, pollMs));
      return { events, nextInMs: restMs() };
    } finally {
      dropUnheld(next);
      // What it asked for it has: is there more? While it was on its way, a look could not ask for the next.
      if (!wasHeld && next.reader.held() && served.every(({ reader }) => reader.held())) nextLookAtMs = 0;
    }
  }

  async function turnTheOne(context: TickContext): Promise<TickResult> {
    const only = served.find(({ lane }) => lane === 0) ?? serve(0);
    served = [only];
    if (noticed) {
      noticed = false;
      await only.reader.renew();
    }
    const result = await only.reader.turn(context);
    // It has learnt that there are more.
    return lanes === 1 ? result : { ...result, nextInMs: 0 };
  }

  /** One that was handed over, lost or not to be had is looked for again. */
  function dropUnheld(one: Served): void {
    if (one.reader.held() || performance.now() < one.pursuedUntilMs) return;
    served = served.filter((other) => other !== one);
    nextLookAtMs = Math.min(nextLookAtMs, performance.now() + pollMs);
  }

  /** What moves while this one looks, it may or may not have seen: it looks once more. */
  async function lookAround(context: TickContext): Promise<void> {
    noticed = false;
    try {
      await look(context);
    } finally {
      if (noticed) nextLookAtMs = 0;
    }
  }

  async function look({ log }: TickContext): Promise<void> {
    const holdings = await laneHolders(db, group);
    // A group that is gone is made anew by the reader of its first lane.
    changeLanes(Math.max(1, holdings.length));
    const now = performance.now();
    nextLookAtMs = now + lookEveryMs;
    if (lanes === 1) return;
    for (const { lane, wantedBy } of holdings) {
      const mine = served.find((one) => one.lane === lane && one.reader.held());
      if (mine === undefined || wantedBy === null || wantedBy === me) continue;
      await mine.reader.renew();
      mine.dueAtMs = 0;
    }
    const leftLong = new Set(
      [...leftSinceMs].filter(([, sinceMs]) => now >= sinceMs + pollMs).map(([lane]) => lane),
    );
    const step = stepOf(holdings, { me, leftLong, random: Math.random() });
    for (const lane of leftSinceMs.keys()) if (!step.left.includes(lane)) leftSinceMs.delete(lane);
    for (const lane of step.left) if (!leftSinceMs.has(lane)) leftSinceMs.set(lane, now);
    if (step.left.length > 0) nextLookAtMs = now + pollMs;
    for (const lane of step.take) pursue(lane, 0);
    if (step.ask !== undefined) {
      log.debug({ group, lane: step.ask }, 'asking for a lane of a worker that has more');
      await requestHandover(db, { name: laneLeaseName({ group, lane: step.ask }), wantedBy: me });
      await announceLanes(db, group);
      // Its holder learns of it at once, or at its next renewal.
      pursue(step.ask, now + lookEveryMs + pollMs);
    }
    // Held by others, or kept for them.
    const others = holdings.filter(({ holder, expiresInMs }) => expiresInMs > 0 && holder !== me);
    for (const { expiresInMs } of others)
      nextLookAtMs = Math.min(nextLookAtMs, now + expiresInMs + AFTER_EXPIRY_MS);
  }

  function pursue(lane: number, untilMs: number): void {
    const known = served.find((one) => one.lane === lane);
    const one = known ?? serve(lane);
    one.pursuedUntilMs = untilMs;
    one.dueAtMs = 0;
    if (known === undefined) served = [...served, one];
  }

  function restMs(): number {
    const soonestMs = Math.min(nextLookAtMs, ...served.map(({ dueAtMs }) => dueAtMs));
    return Math.min(longestRestMs, Math.max(0, soonestMs - performance.now()));
  }

  return {
    turn,
    woken(): void {
      for (const one of served) one.dueAtMs = 0;
    },
    check(): LoopCheck {
      const checks = served.map(({ reader }) => reader.check());
      return checks.find(({ status }) => status !== 'ok') ?? { status: 'ok' };
    },
    async close(): Promise<void> {
      forgetNotices();
      const held = served.some(({ reader }) => reader.held());
      const beganAtMs = performance.now();
      await Promise.all([...closing, ...[...readers.values()].map((reader) => reader.close())]);
      // With a database that is away the others find out by themselves, and nobody waits for it a second time.
      if (!held || performance.now() > beganAtMs + LONGEST_CLOSE_MS) return;
      await announceLanes(db, group).catch(() => undefined);
    },
  };
}

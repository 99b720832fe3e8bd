// The only turn of a worker that ends after it: one batch. A lane that a dead worker holds is waited for; one that a
// living worker reads is left to it.

import { setTimeout as delay } from 'node:timers/promises';
import type { TickContext, TickResult } from '@pulsebox/loop';
import type { Queryable } from '@pulsebox/postgres';
import { laneHolders } from '../lease/lane-holders.ts';
import type { Lanes } from './lanes.ts';

export interface TurnOnceOptions {
  readonly lanes: Lanes;
  readonly db: Queryable;
  readonly group: string;
  /** Who holds the leases: this worker. */
  readonly holder: string;
  readonly pollMs: number;
  readonly leaseTtlMs: number;
}

/** Beyond the time of a lease: until it is noticed that it has run out. */
const SLACK_MS = 1_000;
/** A lease whose end moves on by more than the clocks' noise was renewed: its holder lives. */
const RENEWED_BY_MS = 50;

/** What keeps lanes from this worker. */
interface Obstacle {
  /** The first of those who hold a lane, or have one kept for them. */
  readonly heldBy: string;
  /** When the last of those lanes is free, on the local monotonic clock. */
  readonly freeAtMs: number;
  /** When the first is. */
  readonly firstFreeAtMs: number;
}

/** Turns until a batch is delivered, or there is none to be had; for as long as a lease lasts at most. */
export async function turnOnce(options: TurnOnceOptions, context: TickContext): Promise<TickResult> {
  const { lanes, pollMs, leaseTtlMs } = options;
  const { signal, stopping, log } = context;
  const { group } = options;
  const untilMs = performance.now() + leaseTtlMs + SLACK_MS;
  const ended = AbortSignal.any([signal, stopping]);
  let waitedFor: Obstacle | undefined;
  for (;;) {
    const result = await lanes.turn(context);
    const { nextInMs = 0 } = result;
    if (result.events > 0 || ended.aborted || performance.now() >= untilMs) return result;
    if (nextInMs === 0) continue;
    const look = await lookAt(options);
    if (look === 'all mine') return result;
    if (look !== 'free') {
      if (waitedFor !== undefined && look.freeAtMs > waitedFor.freeAtMs + RENEWED_BY_MS) {
        log.info(
          { group, heldBy: look.heldBy },
          'another worker reads this group: nothing is left for this one',
        );
        return result;
      }
      if (waitedFor === undefined) {
        const seconds = Math.ceil((look.freeAtMs - performance.now()) / 1_000);
        log.info(
          { group, heldBy: look.heldBy, seconds },
          'another worker holds the lease: waiting for its end, unless that worker renews it',
        );
      }
      waitedFor ??= look;
    }
    const freeInMs = look === 'free' ? nextInMs : look.firstFreeAtMs - performance.now();
    context.progress();
    await delay(Math.max(20, Math.min(freeInMs, pollMs)), undefined, { signal: ended }).catch(
      () => undefined,
    );
  }
}

/** `free`: a lane that nobody holds is on its way to this worker. */
async function lookAt({ db, group, holder: me }: TurnOnceOptions): Promise<Obstacle | 'all mine' | 'free'> {
  const holdings = await laneHolders(db, group);
  const now = performance.now();
  const others = holdings.filter(({ holder, expiresInMs }) => expiresInMs > 0 && holder !== me);
  const [first] = others;
  if (first === undefined) return holdings.every(({ holder }) => holder === me) ? 'all mine' : 'free';
  const ends = others.map(({ expiresInMs }) => now + expiresInMs);
  return {
    heldBy: first.holder ?? first.wantedBy ?? 'nobody',
    freeAtMs: Math.max(...ends),
    firstFreeAtMs: Math.min(...ends),
  };
}

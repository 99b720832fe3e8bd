// Finds the event that ends its worker. A reader whose predecessor died goes carefully until it has passed what may
// have been in flight then; one that follows nobody, or one who gave the lane back, writes and reads nothing for it.
//
// Most workers that die are killed for reasons of their own: a machine that goes down, memory. So the first one that
// follows hands over whole batches as ever, and leaves a note that it does. If it dies as well, the next one finds the
// note, and hands events over one by one, each with a mark before it.

import type { Queryable } from '@pulsebox/postgres';
import { clearAttempt, loadAttempt, markAttempt } from './attempt.ts';
import type { AttemptMark } from './attempt.ts';
import { leaseLost } from '../lease/lease-lost.ts';
import type { HeldLane } from '../lease/lane-of-group.ts';

export interface CautionOptions {
  readonly db: Queryable;
  readonly lane: HeldLane;
  readonly batchSize: number;
  readonly maxAttempts: number;
}

/** How an event may be handed over, with the attempts at it that nobody lived to see the end of. */
export type Hand = { readonly over: true } | { readonly over: false; readonly attempts: number };

/** For as long as the lane's lease is held. */
export interface Caution {
  /** Whether events are handed over one by one. */
  readonly oneByOne: boolean;
  /** Once, before the first batch. `followsDead`: the last reader of the lane did not give it back, and had a batch. */
  begin(options: { readonly followsDead: boolean; readonly position: number }): Promise<void>;
  /** A batch ran past its deadline: from now on one by one, so that it is known which event of it takes so long. */
  afterDeadline(): void;
  /** Writes the mark of an event that is handed over next; unless it has ended too many workers. */
  mark(position: number): Promise<Hand>;
  /** The attempt came to an end, whichever, and this process with it did not. */
  survived(): void;
  /** So many events are behind the cursor now; `caughtUp`: all are. */
  passed(events: number | 'caughtUp'): Promise<void>;
  /** Before the lease is given back: what is known of the next event is left to the next reader. */
  end(): Promise<void>;
}

/** `watching`: whole batches, with a note. */
type Mode = 'calm' | 'watching' | 'oneByOne';

export function createCaution({ db, lane, batchSize, maxAttempts }: CautionOptions): Caution {
  let mode: Mode = 'calm';
  let current: AttemptMark | undefined;
  /** The table says what `current` says. */
  let written = true;
  /** A reader has two batches in its hands at most: the one with its handler, and the one that it read ahead. */
  let toPass = 0;

  function go(next: Mode): void {
    mode = next;
    toPass = 2 * batchSize;
  }

  async function write(mark: AttemptMark): Promise<void> {
    written = false;
    if (!(await markAttempt(db, lane, mark))) throw leaseLost(lane.group, 'the mark of an attempt');
    // Not before it is stored: an attempt that could not begin, because the database was away, must not count.
    current = mark;
    written = true;
  }

  async function calmDown(): Promise<void> {
    await clearAttempt(db, lane);
    mode = 'calm';
    current = undefined;
    written = true;
  }

  return {
    get oneByOne(): boolean {
      return mode === 'oneByOne';
    },
    async begin({ followsDead, position }): Promise<void> {
      current = await loadAttempt(db, lane);
      if (current !== undefined) go('oneByOne');
      else if (followsDead) {
        await write({ position, attempts: 0 });
        go('watching');
      }
    },
    afterDeadline(): void {
      go('oneByOne');
    },
    async mark(position): Promise<Hand> {
      const attempts = current?.position === position ? current.attempts : 0;
      if (attempts >= maxAttempts) return { over: false, attempts };
      await write({ position, attempts: attempts + 1 });
      return { over: true };
    },
    survived(): void {
      if (current === undefined || current.attempts === 0) return;
      current = { ...current, attempts: current.attempts - 1 };
      written = false;
    },
    async passed(events): Promise<void> {
      if (mode === 'calm') return;
      toPass = events === 'caughtUp' ? 0 : toPass - events;
      if (toPass <= 0) await calmDown();
    },
    async end(): Promise<void> {
      if (mode === 'watching') await calmDown();
      else if (!written)
        await (current === undefined ? clearAttempt(db, lane) : markAttempt(db, lane, current));
    },
  };
}

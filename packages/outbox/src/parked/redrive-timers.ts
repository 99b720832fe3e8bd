// The timers of a lane's redrives, as its reader has them in its hands: taken when they have run out, ended with the
// outcome that they led to.

import type { Job } from '@pulsebox/jobs';
import type { Queryable } from '@pulsebox/postgres';
import type { RedriveSchedule } from './redrive-schedule.ts';
import type { Settlement } from './redrive-settle.ts';

export interface LaneTimers {
  /** Before a transaction that sets timers. */
  prepare(): Promise<void>;
  /** Takes those of the events; one that has none gets one. */
  take(positions: readonly number[]): Promise<void>;
  /** Ends those in hand of events that are not scheduled: discarded, delivered by a zombie's sink, or another lane's. */
  endStale(scheduled: ReadonlySet<number>): Promise<void>;
  /** In the transaction of the outcome: ends the timers that led to it, and sets those of what is tried again. */
  settle(client: Queryable, settlement: Settlement): Promise<void>;
  /** The transaction has ended, in whichever way: these are in nobody's hands here any more. */
  forget(positions: readonly number[]): void;
}

export function createLaneTimers(db: Queryable, schedule: RedriveSchedule, batchSize: number): LaneTimers {
  const inHand = new Map<number, Job>();

  async function fetch(): Promise<void> {
    for (const [position, job] of await schedule.take(batchSize)) inHand.set(position, job);
  }

  return {
    prepare: () => schedule.prepare(),
    async take(positions): Promise<void> {
      const missing = (): number[] => positions.filter((position) => !inHand.has(position));
      if (missing().length === 0) return;
      await schedule.prepare();
      await fetch();
      const without = missing();
      if (without.length === 0) return;
      await schedule.set(
        db,
        without.map((position) => ({ position, waitMs: 0 })),
      );
      await fetch();
    },
    async endStale(scheduled): Promise<void> {
      const stale = [...inHand].filter(([position]) => !scheduled.has(position));
      if (stale.length === 0) return;
      for (const [position] of stale) inHand.delete(position);
      await schedule.end(
        db,
        stale.map(([, job]) => job),
      );
    },
    async settle(client, { delivered, failed }): Promise<void> {
      const ended = [...delivered, ...failed.map(({ position }) => position)];
      await schedule.end(
        client,
        ended.flatMap((position) => inHand.get(position) ?? []),
      );
      await schedule.set(
        client,
        failed.flatMap(({ position, verdict }) =>
          verdict.state === 'parked' ? [{ position, waitMs: verdict.waitMs }] : [],
        ),
      );
    },
    forget(positions): void {
      for (const position of positions) inHand.delete(position);
    },
  };
}

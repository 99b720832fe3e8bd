// The schedule of redrives, kept by pg-boss: a job for each event that is tried next, due when the event is.
//
// The parked rows are the truth and jobs are timers. A job is sent in the transaction that schedules its event and
// completed in the one that settles the attempt; a row that is due and has no job (purged, with a worker that died,
// replayed by hand, of a lane that is no more) gets another. Nothing is lost with pg-boss's tables.

import { defineQueue } from '@pulsebox/jobs';
import type { Job, Jobs, Queue } from '@pulsebox/jobs';
import type { Queryable } from '@pulsebox/postgres';
import { laneLeaseName } from '../lease/lane-of-group.ts';
import type { LaneOfGroup } from '../lease/lane-of-group.ts';

export interface Timer {
  readonly position: number;
  readonly waitMs: number;
}

export interface RedriveSchedule {
  /** Makes the lane's queue if need be. Not inside a transaction: it uses a connection of its own. */
  prepare(): Promise<void>;
  /** After an error: the queue may have been removed, and is made again. */
  doubt(): void;
  /** Sets timers. One that is set and has not run out stays as it is. */
  set(db: Queryable, timers: readonly Timer[]): Promise<void>;
  /** Takes timers that have run out, by the positions of their events: whoever takes them ends them. */
  take(limit: number): Promise<ReadonlyMap<number, Job>>;
  end(db: Queryable, timers: readonly Job[]): Promise<void>;
}

/** Longer than any redrive, so that nobody takes a timer for dead while its event is being tried. */
const LONGEST_ATTEMPT_SECONDS = 86_400;
/** For people who look into pg-boss's tables. */
const KEEP_ENDED_SECONDS = 3_600;

/** Of the lane `search/0`: `outbox/search/0`, as its lease. */
export function redriveQueue(lane: LaneOfGroup): Queue<{ readonly position: number }> {
  return defineQueue(laneLeaseName(lane), {
    // One timer of an event that waits; beside it there may be one that a dead worker took.
    policy: 'short',
    // Attempts are counted in the parked row, and so are the waits between them.
    attempts: 1,
    timeoutSeconds: LONGEST_ATTEMPT_SECONDS,
    heartbeatSeconds: LONGEST_ATTEMPT_SECONDS,
    keepFinishedSeconds: KEEP_ENDED_SECONDS,
  });
}

export function createRedriveSchedule(jobs: Jobs, lane: LaneOfGroup): RedriveSchedule {
  const queue = redriveQueue(lane);
  let prepared = false;

  return {
    async prepare(): Promise<void> {
      if (prepared) return;
      await jobs.ensureQueue(queue);
      prepared = true;
    },
    doubt(): void {
      prepared = false;
    },
    async set(client, timers): Promise<void> {
      if (timers.length === 0) return;
      await jobs.sendAll(
        queue,
        timers.map(({ position, waitMs }) => ({
          data: { position },
          key: String(position),
          delaySeconds: waitMs / 1_000,
        })),
        { client },
      );
    },
    async take(limit): Promise<ReadonlyMap<number, Job>> {
      const taken = await jobs.fetch(queue, { batchSize: limit });
      return new Map(taken.map((job) => [job.data.position, job]));
    },
    async end(client, timers): Promise<void> {
      await jobs.completeAll(queue, timers, { client });
    },
  };
}

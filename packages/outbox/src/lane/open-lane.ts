// A lane in the hands of its reader: all that lives for as long as its lease is held.

import type { Jobs } from '@pulsebox/jobs';
import type { Logger } from '@pulsebox/loop';
import type { HeldLeaseEvents, Queryable } from '@pulsebox/postgres';
import type { DeliveryOrder } from '../deliver/deliver.ts';
import type { Handler } from '../deliver/handler.ts';
import type { RetryPolicy } from '../deliver/retry.ts';
import type { LaneOfGroup } from '../lease/lane-of-group.ts';
import { createCaution } from '../parked/attempt-caution.ts';
import type { Caution } from '../parked/attempt-caution.ts';
import type { Overdue } from '../parked/one-by-one.ts';
import { storeCursorAndPark } from '../parked/park.ts';
import type { EventToPark } from '../parked/park.ts';
import type { Transact } from '../parked/redrive-attempt.ts';
import { createRedriveSchedule } from '../parked/redrive-schedule.ts';
import type { RedriveSchedule, Timer } from '../parked/redrive-schedule.ts';
import { createLaneRedrive } from '../parked/redrive.ts';
import type { LaneRedrive } from '../parked/redrive.ts';
import { openLaneSession } from './lane-session.ts';
import type { LaneSession, LaneSessionOptions, OpenedSession } from './lane-session.ts';

export interface OpenLaneOptions {
  /** Its queries end: one that is unanswered for as long as the lease lasts is of no use to its holder any more. */
  readonly db: Queryable;
  readonly lane: LaneOfGroup;
  readonly handler: Handler;
  readonly holder: string;
  readonly batchSize: number;
  /** Of the JSON of a batch, in characters. */
  readonly batchCharacters: number;
  readonly leaseTtlMs: number;
  readonly order: DeliveryOrder;
  readonly retry: RetryPolicy;
  readonly jobs: Jobs | undefined;
  readonly transact: Transact;
  /** Of its ticks, in milliseconds. */
  readonly deadlineMs: number;
}

export interface LaneInHand {
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

export type OpenedLane =
  | { readonly opened: true; readonly inHand: LaneInHand }
  | Extract<OpenedSession, { readonly opened: false }>;

export async function openLane(options: OpenLaneOptions, events: HeldLeaseEvents): Promise<OpenedLane> {
  const { db, lane, jobs, batchSize, retry } = options;
  // Anew with each lease: a group that was retired meanwhile has lost its queue.
  const schedule = jobs === undefined ? undefined : createRedriveSchedule(jobs, lane);
  const opened = await openLaneSession(
    { ...options, ...(schedule === undefined ? {} : { storeAndPark: parkingOn(schedule, options) }) },
    events,
  );
  if (!opened.opened) return opened;
  const { session } = opened;
  const { lease } = session;
  const inHand: LaneInHand = {
    session,
    schedule,
    redrive: createLaneRedrive({ ...options, lease, schedule, policy: retry }),
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
  return { opened: true, inHand };
}

/** Once, before the first batch: what the last reader of the lane left behind, if it died. */
export async function beginLane(inHand: LaneInHand, log: Logger): Promise<void> {
  const { session, redrive, caution } = inHand;
  const diedInRedrive = await redrive.recover(log);
  // A redrive and a batch of the log are never under way at once: then no batch was.
  await caution.begin({ followsDead: session.tookOver && !diedInRedrive, position: session.position });
  inHand.begun = true;
}

/** Parked events and the timers of those that are tried next, both or neither. */
function parkingOn(
  timers: RedriveSchedule,
  { lane, transact }: Pick<OpenLaneOptions, 'lane' | 'transact'>,
): NonNullable<LaneSessionOptions['storeAndPark']> {
  return async (stored, parking) => {
    await timers.prepare();
    return await transact(async (client) => {
      const outcome = await storeCursorAndPark(client, lane, stored, parking);
      if (outcome.advanced) await timers.set(client, parking.flatMap(timerOf));
      return outcome;
    });
  };
}

function timerOf({ event, failed }: EventToPark): Timer[] {
  if (failed?.verdict.state !== 'parked') return [];
  return [{ position: event.position, waitMs: failed.verdict.waitMs }];
}

// The lease of a lane for an operator's work on it: asked for, waited for, and held until the work is done.

import { setTimeout as delay } from 'node:timers/promises';
import { acquireLease, holdLease, requestHandover } from '@pulsebox/postgres';
import type { HeldLease } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { announceLanes } from './lane-notice.ts';
import { OutboxError } from '../outbox-error.ts';
import { laneLeaseName } from './lane-of-group.ts';
import type { LaneOfGroup } from './lane-of-group.ts';

export interface TakeLaneOptions {
  readonly pool: Pool;
  readonly lane: LaneOfGroup;
  /** Who asks, for people: `host/pid/random`. */
  readonly holder: string;
  /** How long to wait for its reader to hand it over, in milliseconds. 0: take it only when nobody reads it. */
  readonly timeoutMs: number;
}

/** A command that dies holds the lanes up for so long. */
const LEASE_TTL_MS = 5_000;
const TRY_EVERY_MS = 50;
/** Asking writes to the lease's row. */
const ASK_EVERY_MS = 1_000;

/** @throws OUTBOX_LANE_BUSY */
export async function takeLane({ pool, lane, holder, timeoutMs }: TakeLaneOptions): Promise<HeldLease> {
  const request = { name: laneLeaseName(lane), holder, ttlMs: LEASE_TTL_MS };
  const deadlineMs = performance.now() + timeoutMs;
  let nextAskMs = 0;
  for (;;) {
    const requestedAtMs = performance.now();
    const attempt = await acquireLease(pool, request);
    if (attempt.acquired) return holdLease(pool, { ...request, token: attempt.token, requestedAtMs });
    if (performance.now() >= deadlineMs) {
      throw new OutboxError(
        'OUTBOX_LANE_BUSY',
        `${attempt.heldBy} reads group ${lane.group}, lane ${lane.lane}`,
        {
          hint:
            timeoutMs === 0
              ? 'stop the worker that reads it first; one that was killed holds its lease for a few seconds more'
              : 'nothing was changed; it may be in the middle of a long batch: try again, or stop the worker first',
        },
      );
    }
    // Asked again and again: the one who held it may have been followed by another.
    if (performance.now() >= nextAskMs) {
      await requestHandover(pool, { name: request.name, wantedBy: holder });
      await announceLanes(pool, lane.group);
      nextAskMs = performance.now() + ASK_EVERY_MS;
    }
    await delay(TRY_EVERY_MS);
  }
}

/** Result: the number of its lanes. $1 group. Index: consumer_group_pkey. 0 rows: there is no such group. */
const LANES = `select lanes from outbox.consumer_group where name = $1`;

/**
 * Runs `work` while all lanes of a group are held, so that nobody reads it meanwhile.
 *
 * @throws OUTBOX_GROUP_UNKNOWN, OUTBOX_LANE_BUSY
 */
export async function withAllLanes<T>(
  options: Omit<TakeLaneOptions, 'lane'> & { readonly group: string },
  work: (leases: readonly HeldLease[]) => Promise<T>,
): Promise<T> {
  const { pool, group } = options;
  const lanes = await lanesOf(pool, group);
  const taken: HeldLease[] = [];
  const take = async (lane: number): Promise<void> => {
    const lease = await takeLane({ ...options, lane: { group, lane } });
    taken[lane] = lease;
  };
  try {
    // The first decides between two who want all of them; the others come at once, each when its reader hands it over.
    await take(0);
    await every(Array.from({ length: lanes - 1 }, (_, n) => take(n + 1)));
    if ((await lanesOf(pool, group)) !== lanes) {
      throw new OutboxError('OUTBOX_LEASE_LOST', `the lanes of group ${group} have just changed`, {
        hint: 'nothing was changed by this; try again',
      });
    }
    return await work(taken);
  } finally {
    // Lost or not, each ends by itself; so does the wait of those who are not told.
    await every(taken.map((lease) => lease.release())).catch(() => undefined);
    await announceLanes(pool, group).catch(() => undefined);
  }
}

async function lanesOf(pool: Pool, group: string): Promise<number> {
  const { rows } = await pool.query<{ lanes: number }>(LANES, [group]);
  const lanes = rows[0]?.lanes;
  if (lanes === undefined) throw groupUnknown(group);
  return lanes;
}

export function groupUnknown(group: string): OutboxError {
  return new OutboxError('OUTBOX_GROUP_UNKNOWN', `there is no consumer group ${JSON.stringify(group)}`, {
    hint: '`pulsebox groups` lists those there are; a worker registers its groups when it starts',
  });
}

/** Waits for all of them, also when one fails: nothing is under way any more when it throws. */
async function every(promises: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

// Changes the number of a group's lanes while workers read it. Why nothing is lost, delivered twice or inverted stands
// in ARCHITECTURE.md, "Changing lanes".

import { setTimeout as delay } from 'node:timers/promises';
import { transaction } from '@pulsebox/postgres';
import type { HeldLease } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { finishResize } from './finish-resize.ts';
import { deleteGoneQueues } from './gone-queues.ts';
import { LOCK_GROUP } from '../lease/lock-group.ts';
import { announceLanes } from '../lease/lane-notice.ts';
import { loadLaneState } from '../lease/lane-state.ts';
import { OutboxError } from '../outbox-error.ts';
import { readToBarrier } from '../read/read-to-barrier.ts';
import { rebaseAfterRestore } from '../log/restore.ts';
import { loadCursor, storeCursor } from '../lease/store-cursor.ts';
import { groupUnknown, withAllLanes } from '../lease/take-lane.ts';

/** The most lanes that a group can have. */
export const MOST_LANES = 1_024;

export interface ResizeOptions {
  readonly pool: Pool;
  readonly group: string;
  /** How many lanes it shall have: 1 to 1,024. */
  readonly lanes: number;
  /** Who asks, for people: `host/pid/random`. */
  readonly holder: string;
  /** How long to wait for the group's readers to hand their lanes over, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
  /** Told of the lanes that have arrived at the barrier, when their number changes. */
  readonly onProgress?: (progress: ResizeProgress) => void;
  /** Ends the wait, not the change: workers carry it out by themselves. */
  readonly signal?: AbortSignal;
}

export interface ResizeProgress {
  /** Of how many old lanes. */
  readonly lanes: number;
  /** How many of them have delivered everything up to the barrier. */
  readonly arrived: number;
}

export interface ResizeReport {
  readonly group: string;
  /** How many lanes it had. */
  readonly from: number;
  readonly lanes: number;
  /**
   * `changed`: it has them. `unchanged`: it had them before. `withdrawn`: a change that was under way is called off, and
   * the group keeps its lanes. `pending`: its workers are on their way; they finish the change by themselves.
   */
  readonly outcome: 'changed' | 'unchanged' | 'withdrawn' | 'pending';
}

/** Result: its lanes, and those wished for if they change. $1 group. Index: consumer_group_pkey. 0 rows: it is not there. */
const LANES_OF_GROUP = `
  select lanes, resize_lanes as wished from outbox.consumer_group where name = $1`;

/** $1 group, $2 lanes. The barrier that stands is as good for any number. Index: consumer_group_pkey. */
const CHANGE_WISH = `
  update outbox.consumer_group set resize_lanes = $2 where name = $1 and resize_lanes is not null`;

/** $1 group. Cursors on the way to a barrier are ordinary ones: the old lanes go on from them. Index: consumer_group_pkey. */
const WITHDRAW = `
  update outbox.consumer_group
  set resize_lanes = null, resize_position = null, resize_snapshot = null, resize_ceiling = null
  where name = $1`;

/**
 * Sets the barrier. $1 group, $2 lanes wished for, $3 the leases' names and $4 their tokens, one for each lane.
 * Indexes: lease_pkey, consumer_group_pkey, cursor_pkey. 0 rows: a lease was lost.
 *
 * One statement in a transaction that has no xid before it: the ceiling is assigned after the snapshot was taken, and the
 * positions were stored before, so that all numbers up to the greatest had been handed out.
 */
export const SET_BARRIER = `
  with held as (
    select count(*) as n from (
      select from pulsebox.lease l join unnest($3::text[], $4::bigint[]) as mine(name, token) using (name, token)
      where l.holder is not null for share of l
    ) locked
  )
  update outbox.consumer_group g
  set resize_lanes = $2,
      resize_position = (select max(position) from outbox.lane_cursors(g.name, g.lanes)),
      resize_snapshot = pg_current_snapshot(),
      resize_ceiling = pg_current_xact_id()
  from held
  where g.name = $1 and g.lanes = cardinality($3::text[]) and held.n = g.lanes and g.resize_lanes is null`;

/** Result: old lanes, and those at the barrier. $1 group. Indexes: consumer_group_pkey, cursor_pkey. 0 rows: none stands. */
const RESIZE_PROGRESS = `
  select g.lanes,
         (select count(*)::integer from outbox.lane_cursors(g.name, g.lanes) c
          where c.position = g.resize_position and c.snapshot::text = g.resize_snapshot::text
            and c.frozen_snapshot is null) as arrived
  from outbox.consumer_group g
  where g.name = $1 and g.resize_lanes is not null`;

const LOOK_EVERY_MS = 100;
/** Events that a look on the way of a lane without any goes past, for each lane. */
const STRIDE = 1_000;

/**
 * Sets a barrier, up to which the old lanes deliver and from which the new ones start, and waits until all have arrived.
 * Workers go on reading meanwhile; those that have arrived wait for the others. While a change is under way, another
 * number replaces the one wished for, and the number that the group has calls the change off.
 *
 * @throws OUTBOX_LANES_INVALID, OUTBOX_GROUP_UNKNOWN, OUTBOX_LANE_BUSY, OUTBOX_LEASE_LOST
 */
export async function resizeGroup(options: ResizeOptions): Promise<ResizeReport> {
  const { pool, group, lanes } = options;
  assertLanes(lanes);
  await rebaseAfterRestore(pool);
  const { from, outcome } = await changeWish(pool, group, lanes);
  if (outcome === 'unchanged' || outcome === 'withdrawn') {
    await announceLanes(pool, group);
    // Of an earlier change whose command died at its very end.
    await transaction(pool, async (client) => deleteGoneQueues(client, group));
    return { group, from, lanes, outcome };
  }
  if (outcome === 'barrier needed') await setBarrier(options);
  return { group, from, lanes, outcome: (await arrival(options)) ? 'changed' : 'pending' };
}

interface Wish {
  readonly from: number;
  readonly outcome: 'unchanged' | 'withdrawn' | 'wished' | 'barrier needed';
}

async function changeWish(pool: Pool, group: string, lanes: number): Promise<Wish> {
  return await transaction(pool, async (client): Promise<Wish> => {
    await client.query(LOCK_GROUP, [group]);
    const { rows } = await client.query<{ lanes: number; wished: number | null }>(LANES_OF_GROUP, [group]);
    const now = rows[0];
    if (now === undefined) throw groupUnknown(group);
    const from = now.lanes;
    if (now.wished === null) return { from, outcome: from === lanes ? 'unchanged' : 'barrier needed' };
    await (from === lanes ? client.query(WITHDRAW, [group]) : client.query(CHANGE_WISH, [group, lanes]));
    return { from, outcome: from === lanes ? 'withdrawn' : 'wished' };
  });
}

async function setBarrier({ pool, group, lanes, holder, timeoutMs = 60_000 }: ResizeOptions): Promise<void> {
  await withAllLanes({ pool, group, holder, timeoutMs }, async (leases) => {
    await transaction(pool, async (client) => setBarrierUnder(client, { group, lanes, leases }));
    for (const [lane, lease] of leases.entries()) await walkToBarrier(pool, { group, lane }, lease);
    await finishResize(pool, group);
  });
}

interface BarrierToSet {
  readonly group: string;
  readonly lanes: number;
  readonly leases: readonly HeldLease[];
}

async function setBarrierUnder(client: PoolClient, { group, lanes, leases }: BarrierToSet): Promise<void> {
  await client.query(LOCK_GROUP, [group]);
  const names = leases.map(({ name }) => name);
  const tokens = leases.map(({ token }) => token);
  const { rowCount } = await client.query(SET_BARRIER, [group, lanes, names, tokens]);
  if (rowCount === 1) return;
  throw new OutboxError(
    'OUTBOX_LEASE_LOST',
    `group ${group}: a lane was taken over, or its lanes were changed`,
    {
      hint: 'nothing was changed; try again',
    },
  );
}

/** A lane that has nothing to deliver needs no worker to arrive. One that has is left where it is. */
async function walkToBarrier(
  pool: Pool,
  lane: { readonly group: string; readonly lane: number },
  lease: HeldLease,
): Promise<void> {
  const state = await loadLaneState(pool, lane, lease.token);
  const stored = await loadCursor(pool, lane);
  const barrier = state?.barrier ?? null;
  if (state === undefined || barrier === null || stored === undefined) return;
  let { cursor } = stored;
  for (;;) {
    lease.signal.throwIfAborted();
    const batch = await readToBarrier(pool, cursor, barrier, { events: STRIDE }, state.slice);
    if (batch.events.length > 0) return;
    cursor = batch.next;
    if (batch.reached === 'barrier') break;
  }
  await storeCursor(pool, lane, { ...stored, cursor, token: lease.token, batch: 1 });
}

/** Whether all have arrived; false: the wait was ended. */
async function arrival({ pool, group, onProgress, signal }: ResizeOptions): Promise<boolean> {
  let reported = -1;
  for (;;) {
    if (await finishResize(pool, group)) break;
    const { rows } = await pool.query<ResizeProgress>(RESIZE_PROGRESS, [group]);
    const progress = rows[0];
    if (progress !== undefined && progress.arrived !== reported) {
      reported = progress.arrived;
      onProgress?.(progress);
    }
    if (signal?.aborted === true) return false;
    await delay(LOOK_EVERY_MS, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
  await announceLanes(pool, group);
  // Workers that finished it have done so as well, unless they died right then.
  await transaction(pool, async (client) => deleteGoneQueues(client, group));
  return true;
}

function assertLanes(lanes: number): void {
  if (Number.isInteger(lanes) && lanes >= 1 && lanes <= MOST_LANES) return;
  throw new OutboxError(
    'OUTBOX_LANES_INVALID',
    `expected a number of lanes from 1 to ${MOST_LANES}, got ${String(lanes)}`,
    { hint: 'as many as workers shall share the group; more than there are workers do no harm' },
  );
}

// Moves a group to another place in the log, so that nothing behind it is lost and nothing is inverted from there on.

import { transaction } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { beginningOfLog } from '../read/cursor.ts';
import type { Cursor } from '../read/cursor.ts';
import { OutboxError } from '../outbox-error.ts';
import { deleteGoneQueues } from './gone-queues.ts';
import { LOCK_GROUP } from '../lease/lock-group.ts';
import { rebaseAfterRestore } from '../log/restore.ts';
import { loadCursor, storeCursor } from '../lease/store-cursor.ts';
import { withAllLanes } from '../lease/take-lane.ts';

/**
 * `position`: events behind it are delivered (again), those up to it are not; one whose transaction is open now is
 * delivered when it commits, wherever it stands.
 * `time`: every event written at or after it is delivered, on the database's clock (`created_at`), committed already or
 * not; so is what stands behind the first of them, though it may be written a moment before.
 * `beginning`: all events that are kept. `end`: what commits from now on.
 */
export type SeekTarget =
  | { readonly to: 'position'; readonly position: number }
  | { readonly to: 'time'; readonly time: Date }
  | { readonly to: 'beginning' | 'end' };

export interface SeekOptions {
  readonly pool: Pool;
  readonly group: string;
  readonly target: SeekTarget;
  /** Who asks, for people: `host/pid/random`. */
  readonly holder: string;
  /** How long to wait for the group's readers to hand their lanes over, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
}

export interface SeekReport {
  readonly group: string;
  /** The positions that its lanes were at. */
  readonly from: readonly number[];
  readonly position: number;
}

/** Nothing is dropped until this transaction ends: dropping and making partitions takes the same lock. */
const KEEP_PARTITIONS = `select pg_advisory_xact_lock(8101914125081123)`;

/** Result: one row, what is kept of the log: the first number of its oldest partition, and the last one handed out. */
const EXTENT = `
  select (select greatest(coalesce(min(lower_bound), 0), 1) from outbox.partition)::float8 as first,
         (select case when is_called then last_value else 0 end from outbox.event_seq)::float8 as last`;

/**
 * Result: one row, a whole cursor. $1 the position, $2 a time or null: with one, the position before the first event
 * written at or after it, else $1. Index: event_pkey, and all rows up to the one that is found.
 *
 * $1 was handed out before this snapshot was taken, and so was the position before an event that it sees; the ceiling
 * is assigned after it. So what is open or unseen up to the position is late to this cursor, and found when it commits.
 */
const CURSOR_AT = `
  select coalesce(
           (select seq - 1 from outbox.event where created_at >= $2::timestamptz order by seq limit 1),
           $1::bigint)::float8 as position,
         pg_current_snapshot()::text as snapshot,
         pg_current_xact_id()::text as ceiling`;

/**
 * Ends a change of lanes that was under way: all of them stand at one place now, which is all that it waits for.
 * $1 group, $2-$4 the cursor. 0 rows: none was.
 */
const START_WISHED_LANES = `
  select outbox.start_lanes(name, resize_lanes, $2, $3, $4)
  from outbox.consumer_group where name = $1 and resize_lanes is not null`;

/**
 * Takes the group's lanes from their readers, moves all of them, and gives them back.
 *
 * @throws OUTBOX_GROUP_UNKNOWN, OUTBOX_LANE_BUSY, OUTBOX_POSITION_INVALID, OUTBOX_LEASE_LOST
 */
export async function seekGroup(options: SeekOptions): Promise<SeekReport> {
  const { pool, group, target, holder, timeoutMs = 60_000 } = options;
  await rebaseAfterRestore(pool);
  return await withAllLanes({ pool, group, holder, timeoutMs }, async (leases) =>
    transaction(pool, async (client) => {
      await client.query(LOCK_GROUP, [group]);
      await client.query(KEEP_PARTITIONS);
      const cursor = await cursorAt(client, target);
      const from: number[] = [];
      for (const [number, lease] of leases.entries()) {
        const lane = { group, lane: number };
        const stored = await loadCursor(client, lane);
        from.push(stored?.cursor.position ?? 0);
        const next = { cursor, token: lease.token, batch: 1, delivered: stored?.delivered ?? 0 };
        const outcome = await storeCursor(client, lane, next);
        if (!outcome.advanced) {
          throw new OutboxError(
            'OUTBOX_LEASE_LOST',
            `group ${group}: another reader took lane ${number} over`,
            {
              hint: 'nothing was changed; try again',
            },
          );
        }
      }
      await client.query(START_WISHED_LANES, [group, cursor.position, cursor.snapshot, cursor.ceiling]);
      await deleteGoneQueues(client, group);
      return { group, from, position: cursor.position };
    }),
  );
}

async function cursorAt(client: PoolClient, target: SeekTarget): Promise<Cursor> {
  const { rows } = await client.query<{ first: number; last: number }>(EXTENT);
  const { first = 1, last = 0 } = rows[0] ?? {};
  if (target.to === 'beginning') return { ...beginningOfLog, position: first - 1 };
  if (target.to === 'position') assertKept(target.position, first, last);
  const position = target.to === 'position' ? target.position : last;
  const time = target.to === 'time' ? target.time.toISOString() : null;
  const { rows: found } = await client.query<Omit<Cursor, 'frozen'>>(CURSOR_AT, [position, time]);
  const cursor = found[0];
  if (cursor === undefined) throw new Error('the log gave no cursor');
  return { ...cursor, frozen: null };
}

function assertKept(position: number, first: number, last: number): void {
  if (Number.isSafeInteger(position) && position >= first - 1 && position <= last) return;
  const dropped = position < first - 1 && position >= 0;
  throw new OutboxError(
    'OUTBOX_POSITION_INVALID',
    dropped
      ? `events behind position ${position} were dropped: the log is kept from ${first} on`
      : `expected a position from ${first - 1} to ${last}, got ${position}`,
    { hint: 'seek to the beginning for all that is kept, or to the end for what is yet to come' },
  );
}

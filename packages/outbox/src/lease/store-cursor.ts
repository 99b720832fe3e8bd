// A group's progress: read the cursor in force, store the next one under the lease's fencing token.

import type { Queryable } from '@pulsebox/postgres';
import type { Cursor } from '../read/cursor.ts';
import { laneLeaseName } from './lane-of-group.ts';
import type { LaneOfGroup } from './lane-of-group.ts';

export interface StoredCursor {
  readonly cursor: Cursor;
  readonly token: number;
  readonly batch: number;
  readonly delivered: number;
}

export type StoreOutcome =
  | { readonly advanced: true }
  | { readonly advanced: false; readonly reason: 'fenced' };

/**
 * Result: the cursor in force. $1 group, $2 lane. Index: cursor_pkey, backwards. 0 rows: the group is not registered.
 *
 * The order names the table: bare, `token` would be the output column, a float8 that no index is in the order of, and
 * every row of the lane would be read and sorted (528 pages instead of 5 after 20,000 stores under a held xmin).
 */
export const LOAD_CURSOR = `
  select token::float8, batch::float8, position::float8, snapshot::text, ceiling::text,
         frozen_snapshot::text, frozen_ceiling::text, frozen_position::float8, delivered::float8
  from outbox.cursor
  where group_name = $1 and lane = $2
  order by cursor.token desc, cursor.batch desc
  limit 1`;

/**
 * $1 group, $2 lane, $3 token, $4 batch, $5-$10 the cursor, $11 delivered, $12 the lease's name.
 * Index: lease_pkey. 0 rows: the lease was lost, nothing is stored.
 *
 * The share lock makes a take-over wait for a store in flight, and a store that comes after it see the new token.
 * It writes no new version of the lease's row.
 */
export const STORE_CURSOR = `
  with lease as (
    select from pulsebox.lease where name = $12 and token = $3 for share
  )
  insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling,
                             frozen_snapshot, frozen_ceiling, frozen_position, delivered)
  select $1, $2, $3, $4, $5, $6::pg_snapshot, $7::xid8, $8::pg_snapshot, $9::xid8, $10, $11
  from lease`;

/**
 * $1 group, $2 lane, $3 token, $4 batch. Index: cursor_pkey. Removes what the given cursor made obsolete.
 * The newest row is never touched, so a probe from the end of the index never meets a dead one first.
 */
export const PRUNE_CURSORS = `
  delete from outbox.cursor where group_name = $1 and lane = $2 and (token, batch) < ($3, $4)`;

export async function loadCursor(db: Queryable, lane: LaneOfGroup): Promise<StoredCursor | undefined> {
  const { rows } = await db.query<{
    token: number;
    batch: number;
    position: number;
    snapshot: string;
    ceiling: string;
    frozen_snapshot: string | null;
    frozen_ceiling: string | null;
    frozen_position: number | null;
    delivered: number;
  }>(LOAD_CURSOR, [lane.group, lane.lane]);
  const row = rows[0];
  if (row === undefined) return undefined;
  const { token, batch, position, snapshot, ceiling, delivered } = row;
  const frozen =
    row.frozen_snapshot === null || row.frozen_ceiling === null || row.frozen_position === null
      ? null
      : { snapshot: row.frozen_snapshot, ceiling: row.frozen_ceiling, position: row.frozen_position };
  return { cursor: { position, snapshot, ceiling, frozen }, token, batch, delivered };
}

/** Stores progress if the token is still the current one. */
export async function storeCursor(
  db: Queryable,
  lane: LaneOfGroup,
  stored: StoredCursor,
): Promise<StoreOutcome> {
  const { cursor } = stored;
  const { rowCount } = await db.query(STORE_CURSOR, [
    lane.group,
    lane.lane,
    stored.token,
    stored.batch,
    cursor.position,
    cursor.snapshot,
    cursor.ceiling,
    cursor.frozen?.snapshot ?? null,
    cursor.frozen?.ceiling ?? null,
    cursor.frozen?.position ?? null,
    stored.delivered,
    laneLeaseName(lane),
  ]);
  return rowCount === 1 ? { advanced: true } : { advanced: false, reason: 'fenced' };
}

export async function pruneCursors(db: Queryable, lane: LaneOfGroup, newest: StoredCursor): Promise<void> {
  await db.query(PRUNE_CURSORS, [lane.group, lane.lane, newest.token, newest.batch]);
}

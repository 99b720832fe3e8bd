// What a bulk replay or discard is about: counted before anything is changed, and then gone through in bounded steps.

import { transaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool, PoolClient } from 'pg';
import { LOCK_GROUP } from '../lease/lock-group.ts';
import { MATCHES } from './dead-filter.ts';
import type { FilterValues, ParkedState } from './dead-filter.ts';

/** The events of one group that match a filter. */
export interface Selection {
  readonly group: string;
  readonly dead: number;
  /** Tried again, or waiting behind another of its key. */
  readonly parked: number;
  /** Of the parked ones: handed to the handler at this moment. */
  readonly attempting: number;
}

/**
 * An attempt is under way while somebody holds a lane of the group: whoever takes over from one that died first settles
 * what it left. Of a row `p`.
 */
export const ATTEMPTING: string = `
  (p.attempting_since is not null
   and exists (select from pulsebox.lease l
               where starts_with(l.name, 'outbox/' || p.group_name || '/') and l.expires_at > clock_timestamp()))`;

/** Result: one row a group that has some. $1 to $7 the filter. Index: parked_pkey or parked_dead, as the filter says. */
const SELECTED = `
  select p.group_name as "group",
         count(*) filter (where p.state = 'dead')::float8 as dead,
         count(*) filter (where p.state = 'parked')::float8 as parked,
         count(*) filter (where p.state = 'parked' and ${ATTEMPTING})::float8 as attempting
  from outbox.parked p
  where ${MATCHES}
  group by p.group_name order by p.group_name`;

export async function selectedBy(db: Queryable, values: FilterValues): Promise<Selection[]> {
  const { rows } = await db.query<Selection>(SELECTED, [...values]);
  return rows;
}

/** Result: the ids that are not there, in the order in which they were asked for. $1 groups, $2 positions. Index: parked_pkey. */
const MISSING = `
  select wanted.group_name || '/' || wanted.position as id
  from unnest($1::text[], $2::bigint[]) with ordinality as wanted(group_name, position, n)
  where not exists (select from outbox.parked p where (p.group_name, p.position) = (wanted.group_name, wanted.position))
  order by wanted.n`;

/** Ids of the filter that name nothing: the event was delivered or discarded, or never failed. */
export async function missingIds(db: Queryable, values: FilterValues): Promise<string[]> {
  const [, , , , , groups, positions] = values;
  if (groups === null) return [];
  const { rows } = await db.query<{ id: string }>(MISSING, [groups, positions]);
  // Asked for twice, it is missing once.
  return [...new Set(rows.map(({ id }) => id))];
}

/** How much one transaction changes: readers of the group wait for it when they store their progress. */
export const CHUNK_ROWS = 1_000;

/**
 * $1 group. Its readers take these rows in share mode before they park or settle anything, and so neither does while
 * this transaction runs: an event is the first of its key for both or for neither. Index: lease_pkey; the table is small.
 */
const KEEP_READERS_FROM_SETTLING = `
  select from pulsebox.lease where starts_with(name, 'outbox/' || $1 || '/') order by name for no key update`;

/** How many positions are looked up at once: a look may have to go through all that is parked. */
const POSITIONS_PER_LOOK = 50_000;

/**
 * Result: positions in order. $1 to $7 the filter, $8 the group, $9 the state, $10 the position to go on behind.
 * Index: parked_dead for dead letters, parked_pkey for others.
 */
export const POSITIONS: string = `
  select p.position::float8 as position
  from outbox.parked p
  where ${MATCHES} and p.group_name = $8 and p.state = $9 and p.position > $10
  order by p.position limit ${POSITIONS_PER_LOOK}`;

export interface ChunksOptions {
  readonly pool: Pool;
  readonly values: FilterValues;
  readonly group: string;
  readonly state: ParkedState;
  /** Changes those of the positions that still are what they were, in this transaction. Returns how many. */
  readonly change: (client: PoolClient, positions: readonly number[]) => Promise<number>;
}

/** Goes through the events of a group that match now, in the order of positions. Returns the sum of what was changed. */
export async function inChunks({ pool, values, group, state, change }: ChunksOptions): Promise<number> {
  let sum = 0;
  let behind = 0;
  for (;;) {
    const { rows } = await pool.query<{ position: number }>(POSITIONS, [...values, group, state, behind]);
    const positions = rows.map(({ position }) => position);
    for (let from = 0; from < positions.length; from += CHUNK_ROWS) {
      sum += await transaction(pool, async (client) => {
        await client.query(LOCK_GROUP, [group]);
        await client.query(KEEP_READERS_FROM_SETTLING, [group]);
        return change(client, positions.slice(from, from + CHUNK_ROWS));
      });
    }
    behind = positions.at(-1) ?? behind;
    if (positions.length < POSITIONS_PER_LOOK) return sum;
  }
}

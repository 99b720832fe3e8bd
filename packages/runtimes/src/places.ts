// Places: how many runtimes an organisation, and all together, may have at once. Whoever has one may be in the cluster.

import { boundedTransaction } from '@pulsebox/postgres';
import type { Bounds } from '@pulsebox/postgres';
import type { Pool } from 'pg';

export interface Cap {
  readonly perOrganisation: number;
  /** Undefined: no other limit than those of the organisations. */
  readonly inAll: number | undefined;
}

/** Held until the transaction ends: places are given out by one at a time, so that what was counted stays true. */
export const LOCK_PLACES = `select pg_advisory_xact_lock(hashtextextended('pulsebox/runtimes/places', 0))`;

/**
 * Result: who got a place. $1 places of an organisation, $2 places in all, or null. The longest wait comes first.
 * Indexes: agent_runtime_in_motion, agent_runtime_placed. 0 rows: nobody waits, or nothing is free.
 */
export const GIVE_PLACES = `
  with taken as (
    select org_id, count(*) as places from app.agent_runtimes where placed_at is not null group by org_id
  ), waiting as (
    select r.user_id, r.requested_at,
           coalesce(t.places, 0) + row_number() over (partition by r.org_id order by r.requested_at, r.user_id) as place
    from app.agent_runtimes r left join taken t using (org_id)
    where r.state = 'starting' and r.placed_at is null
  ), admitted as (
    select user_id,
           (select coalesce(sum(places), 0) from taken) + row_number() over (order by requested_at, user_id) as place
    from waiting where place <= $1
  )
  update app.agent_runtimes r set placed_at = clock_timestamp(), reason = 'its Pod is to be created'
  from admitted a
  where r.user_id = a.user_id and ($2::int is null or a.place <= $2)
    and r.state = 'starting' and r.placed_at is null
  returning r.user_id`;

/** Gives free places to those who wait. Result: the users who got one. */
export async function givePlaces(
  pool: Pool,
  { perOrganisation, inAll }: Cap,
  bounds: Bounds = { statementMs: 5_000 },
): Promise<readonly string[]> {
  return await boundedTransaction(pool, bounds, async (client) => {
    // A statement of its own: what is counted is looked at after the lock is held.
    await client.query(LOCK_PLACES);
    const { rows } = await client.query<{ user_id: string }>(GIVE_PLACES, [perOrganisation, inAll ?? null]);
    return rows.map(({ user_id }) => user_id);
  });
}

// A row of app.agent_runtimes, and which of them a round looks at.

import type { Queryable } from '@pulsebox/postgres';

export const runtimeStates = ['starting', 'running', 'stopping', 'stopped', 'error'] as const;

export type RuntimeState = (typeof runtimeStates)[number];

export interface RuntimeRow {
  readonly userId: string;
  readonly orgId: string;
  readonly name: string;
  readonly state: RuntimeState;
  readonly reason: string;
  /** Every change names the one that it was decided on. */
  readonly version: string;
  readonly startId: string;
  readonly podUid: string | null;
  /** Of the event that asked for this start. */
  readonly trace: Readonly<Record<string, string>> | null;
  readonly startAgain: boolean;
  /** It has one of the places that the cap allows, and something of it may be in the cluster. */
  readonly placed: boolean;
  /** What follows is in milliseconds, by the clock of the database. */
  readonly requestedForMs: number;
  readonly placedForMs: number | null;
  /** Since a Pod was asked for of which it is not known whether it came to be. */
  readonly createUnknownForMs: number | null;
  /** Of one that is running: since it was used, or became ready. */
  readonly idleForMs: number | null;
  readonly runningForMs: number | null;
}

/**
 * $1 names of objects that are in the cluster. Indexes: agent_runtime_in_motion, agent_runtime_placed,
 * agent_runtimes_name_key. 0 rows: there is nothing to look after.
 */
export const RELEVANT_RUNTIMES = `
  select user_id as "userId", org_id as "orgId", name, state, reason, version::text as version, start_id as "startId",
         pod_uid as "podUid", trace, start_again as "startAgain", placed_at is not null as placed,
         extract(epoch from clock_timestamp() - requested_at)::float8 * 1000 as "requestedForMs",
         extract(epoch from clock_timestamp() - placed_at)::float8 * 1000 as "placedForMs",
         case when creates_unknown > 0
           then extract(epoch from clock_timestamp() - create_sent_at)::float8 * 1000
         end as "createUnknownForMs",
         case when state = 'running'
           then extract(epoch from clock_timestamp() - greatest(running_at, last_active_at))::float8 * 1000
         end as "idleForMs",
         extract(epoch from clock_timestamp() - running_at)::float8 * 1000 as "runningForMs"
  from app.agent_runtimes
  where placed_at is not null or state in ('starting', 'stopping') or name = any ($1)
  order by requested_at, user_id`;

export async function relevantRuntimes(
  db: Queryable,
  names: readonly string[],
): Promise<readonly RuntimeRow[]> {
  const { rows } = await db.query<RuntimeRow>(RELEVANT_RUNTIMES, [names]);
  return rows;
}

/** One row, one column. Index: agent_runtime_in_motion. */
const IN_MOTION = `
  select exists (
    select from app.agent_runtimes
    where state in ('starting', 'stopping') or state = 'error' and placed_at is not null
  ) as moving`;

/** Whether any runtime is on its way from one state to another. */
export async function isAnyInMotion(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ moving: boolean }>(IN_MOTION);
  return rows[0]?.moving === true;
}

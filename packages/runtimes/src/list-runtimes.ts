// Runtimes as people ask for them.

import type { Queryable } from '@pulsebox/postgres';
import type { RuntimeState } from './runtime-row.ts';
import { RuntimesError } from './runtimes-error.ts';

export interface RuntimeSummary {
  readonly user: string;
  readonly organisation: string;
  readonly name: string;
  readonly state: RuntimeState;
  readonly reason: string;
  readonly stateSince: Date;
  /** Whether it counts towards the cap. */
  readonly placed: boolean;
  readonly url: string | null;
  readonly lastActiveAt: Date;
  /** When it is gone it is started again. */
  readonly startAgain: boolean;
}

export interface RuntimeHistoryEntry {
  readonly at: string;
  readonly state: RuntimeState;
  readonly reason: string;
}

export interface RuntimeDetails extends RuntimeSummary {
  readonly podUid: string | null;
  /** How many places of the organisation are taken, and how many of it wait for one. */
  readonly organisationPlaced: number;
  readonly organisationWaiting: number;
  /** The last twenty states with their reasons, the oldest first. */
  readonly history: readonly RuntimeHistoryEntry[];
}

/** $1 a state, or null for all but those that are stopped. Reads the table. */
const LIST = `
  select user_id as user, org_id as organisation, name, state, reason, state_since as "stateSince",
         placed_at is not null as placed, url, last_active_at as "lastActiveAt", start_again as "startAgain"
  from app.agent_runtimes
  where case when $1::text is null then state <> 'stopped' or placed_at is not null else state = $1 end
  order by organisation, user_id`;

/** $1 user. Index: the key. 0 rows: no start was ever asked for. */
const SHOW = `
  select user_id as user, org_id as organisation, name, state, reason, state_since as "stateSince",
         placed_at is not null as placed, url, last_active_at as "lastActiveAt", start_again as "startAgain",
         pod_uid as "podUid", history,
         (select count(*) from app.agent_runtimes o where o.org_id = r.org_id and o.placed_at is not null)::int
           as "organisationPlaced",
         (select count(*) from app.agent_runtimes o
          where o.org_id = r.org_id and o.state = 'starting' and o.placed_at is null)::int as "organisationWaiting"
  from app.agent_runtimes r where user_id = $1`;

/** All that are not stopped, or those in one state. */
export async function listRuntimes(db: Queryable, state?: RuntimeState): Promise<readonly RuntimeSummary[]> {
  const { rows } = await db.query<RuntimeSummary>(LIST, [state ?? null]);
  return rows;
}

/** @throws RUNTIMES_USER_UNKNOWN */
export async function showRuntime(db: Queryable, userId: string): Promise<RuntimeDetails> {
  const { rows } = await db.query<RuntimeDetails>(SHOW, [userId]);
  if (rows[0] !== undefined) return rows[0];
  throw new RuntimesError(
    'RUNTIMES_USER_UNKNOWN',
    `expected a user who has asked for a runtime, got ${JSON.stringify(userId)}`,
    { hint: '`pulsebox runtimes list` shows who has one; ids are compared exactly' },
  );
}

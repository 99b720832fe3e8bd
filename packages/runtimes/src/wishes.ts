// What users wish of their runtimes, written down. Nothing here knows of a cluster: the reconciler makes it come true.

import type { Queryable } from '@pulsebox/postgres';
import type { RuntimeCommand } from './runtime-command.ts';
import { runtimeName } from './runtime-name.ts';

/**
 * Result: the state that the runtime has now. $1 user, $2 organisation, $3 name, $4 position or null, $5 trace or null.
 * Index: the key.
 * At rest: it is to start. On its way out: it is to start again when it is gone. Else: it has been used.
 * 0 rows: the event was heeded before.
 */
const START = `
  insert into app.agent_runtimes as r (user_id, org_id, name, state, reason, last_position, trace)
  values ($1, $2, $3, 'starting', 'a start was asked for', $4, $5)
  on conflict (user_id) do update set
    last_position = greatest(r.last_position, excluded.last_position),
    last_active_at = clock_timestamp(),
    start_again = r.start_again or r.placed_at is not null and r.state in ('stopping', 'error'),
    trace = case
      when r.placed_at is null and r.state in ('stopped', 'error') then excluded.trace
      when r.placed_at is not null and r.state in ('stopping', 'error') and not r.start_again then excluded.trace
      else r.trace end,
    org_id = case when r.placed_at is null then excluded.org_id else r.org_id end,
    start_id = case when r.placed_at is null and r.state in ('stopped', 'error') then gen_random_uuid() else r.start_id end,
    requested_at =
      case when r.placed_at is null and r.state in ('stopped', 'error') then clock_timestamp() else r.requested_at end,
    reason =
      case when r.placed_at is null and r.state in ('stopped', 'error') then excluded.reason else r.reason end,
    state = case when r.placed_at is null and r.state in ('stopped', 'error') then 'starting' else r.state end
  where $4::bigint is null or r.last_position is null or r.last_position < $4
  returning state`;

/**
 * $1 user, $2 position or null. Index: the key. What has no place has nothing in the cluster, and is stopped with that.
 * 0 rows: there is none, or the event was heeded before.
 */
const STOP = `
  update app.agent_runtimes set
    last_position = greatest(last_position, $2),
    start_again = false,
    reason = case when state in ('stopping', 'stopped') then reason else 'a stop was asked for' end,
    state = case when state in ('stopping', 'stopped') then state when placed_at is null then 'stopped' else 'stopping' end,
    url = null, running_at = null
  where user_id = $1 and ($2::bigint is null or last_position is null or last_position < $2)`;

/**
 * $1 user, $2 position or null. Index: the key. What runs with the old settings is deleted; one that was still on its way
 * up is made anew, since somebody waits for it. Without a Pod there is nothing that has the old ones.
 * 0 rows: as above.
 */
const SETTINGS_CHANGED = `
  update app.agent_runtimes set
    last_position = greatest(last_position, $2),
    start_again = start_again or state = 'starting' and placed_at is not null,
    reason = case when placed_at is not null and state in ('starting', 'running')
                  then 'the settings of the agent have changed' else reason end,
    state = case when placed_at is not null and state in ('starting', 'running') then 'stopping' else state end,
    url = null, running_at = null
  where user_id = $1 and ($2::bigint is null or last_position is null or last_position < $2)`;

/** Result: the organisation, or null when it is not known. $1 user. Indexes: the keys. One row. */
const ORGANISATION = `
  select coalesce(
    (select org_id from app.user_agent_settings where user_id = $1),
    (select org_id from app.agent_runtimes where user_id = $1)
  ) as org_id`;

export type Heeded = { readonly heeded: true } | { readonly heeded: false; readonly reason: string };

/** Headers of the event that asked. */
export type RuntimeTrace = Readonly<Record<string, string>>;

/** Writes down what the command wishes. A command that comes again changes nothing. */
export async function heed(
  client: Queryable,
  command: RuntimeCommand,
  trace?: RuntimeTrace,
): Promise<Heeded> {
  const { wish, userId, position } = command;
  if (wish === 'stop') await client.query(STOP, [userId, position]);
  else if (wish === 'settings') await client.query(SETTINGS_CHANGED, [userId, position]);
  else {
    const orgId = command.orgId ?? (await organisationOf(client, userId));
    if (orgId === undefined) {
      return {
        heeded: false,
        reason: `expected org_id, or settings of ${JSON.stringify(userId)} in app.user_agent_settings, got neither`,
      };
    }
    await client.query(START, [userId, orgId, runtimeName(userId), position, trace ?? null]);
  }
  return { heeded: true };
}

async function organisationOf(client: Queryable, userId: string): Promise<string | undefined> {
  const { rows } = await client.query<{ org_id: string | null }>(ORGANISATION, [userId]);
  return rows[0]?.org_id ?? undefined;
}

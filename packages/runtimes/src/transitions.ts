// What the reconciler writes: transitions, each only if the row is still the one that it was decided on.

import type { Queryable } from '@pulsebox/postgres';
import type { RuntimeRow } from './runtime-row.ts';

/** Everywhere: $1 user, $2 version. Index: the key. 0 rows: somebody has changed it meanwhile, and the next round looks. */
const CREATE_SENT = `
  update app.agent_runtimes set create_sent_at = clock_timestamp(), creates_unknown = creates_unknown + 1
  where user_id = $1 and version = $2 and state = 'starting' and placed_at is not null
  returning version::text as version`;

/** What came of one request: $3 uid of the Pod, or null when none came of it for sure. Others may be open still. */
const CREATE_KNOWN = `
  update app.agent_runtimes set creates_unknown = greatest(creates_unknown - 1, 0), pod_uid = coalesce($3, pod_uid)
  where user_id = $1 and version = $2
  returning version::text as version`;

/** $3 what it waits for. */
const NOTE = `
  update app.agent_runtimes set reason = $3
  where user_id = $1 and version = $2 and state = 'starting'
  returning version::text as version`;

/** $3 where it answers. Result: how long the start took. */
const RUN = `
  update app.agent_runtimes
  set state = 'running', reason = 'its Pod is ready', url = $3, running_at = clock_timestamp()
  where user_id = $1 and version = $2 and state = 'starting' and placed_at is not null
  returning version::text as version, extract(epoch from clock_timestamp() - requested_at)::float8 as "startSeconds"`;

/** $3 why. It keeps its place, if it has one, until nothing of it is in the cluster. */
const FAIL = `
  update app.agent_runtimes set state = 'error', reason = $3, url = null, running_at = null
  where user_id = $1 and version = $2 and state in ('starting', 'running')
  returning version::text as version`;

/** $3 why, $4 milliseconds. Only while it is still idle for so long: signs of use change no version. */
const STOP_IDLE = `
  update app.agent_runtimes set state = 'stopping', reason = $3, url = null, running_at = null
  where user_id = $1 and version = $2 and state = 'running'
    and greatest(running_at, last_active_at) < clock_timestamp() - $4 * interval '1 millisecond'
  returning version::text as version`;

/** Nothing of it is in the cluster: its place is free, or its own for another start. */
const GONE = `
  update app.agent_runtimes set
    state = case when start_again then 'starting' when state = 'stopping' then 'stopped' else state end,
    reason = case when start_again then 'a start was asked for' when state = 'stopping' then 'stopped: ' || reason
                  else reason end,
    placed_at = case when start_again then clock_timestamp() end,
    requested_at = case when start_again then clock_timestamp() else requested_at end,
    start_id = case when start_again then gen_random_uuid() else start_id end,
    start_again = false, creates_unknown = 0, create_sent_at = null, pod_uid = null
  where user_id = $1 and version = $2 and (state = 'stopping' or state = 'error' and placed_at is not null)
  returning version::text as version`;

/**
 * Without a look at the cluster: $1 milliseconds, $2 why. Index: agent_runtime_in_motion. A place is kept where a Pod may
 * have come to be. 0 rows: nothing has been starting for so long.
 */
const EXPIRE = `
  update app.agent_runtimes
  set state = 'error', reason = $2,
      placed_at = case when creates_unknown = 0 and pod_uid is null then null else placed_at end
  where state = 'starting' and coalesce(placed_at, requested_at) < clock_timestamp() - $1 * interval '1 millisecond'
  returning user_id, name`;

type Row = Pick<RuntimeRow, 'userId' | 'version'>;

/** Result, here and below: the row's version after that; undefined: it is no longer as it was read, and was left alone. */
export async function createSent(db: Queryable, row: Row): Promise<string | undefined> {
  return await write(db, CREATE_SENT, row);
}

export async function createKnown(
  db: Queryable,
  row: Row,
  podUid: string | null,
): Promise<string | undefined> {
  return await write(db, CREATE_KNOWN, row, podUid);
}

export async function note(db: Queryable, row: Row, reason: string): Promise<string | undefined> {
  return await write(db, NOTE, row, cut(reason));
}

/** Result: with the version, how many seconds the start took. */
export async function run(
  db: Queryable,
  row: Row,
  url: string,
): Promise<{ readonly version: string; readonly startSeconds: number } | undefined> {
  const { rows } = await db.query<{ version: string; startSeconds: number }>(RUN, [
    row.userId,
    row.version,
    url,
  ]);
  return rows[0];
}

export async function fail(db: Queryable, row: Row, reason: string): Promise<string | undefined> {
  return await write(db, FAIL, row, cut(reason));
}

export async function stopIdle(
  db: Queryable,
  row: Row,
  reason: string,
  idleMs: number,
): Promise<string | undefined> {
  return await write(db, STOP_IDLE, row, cut(reason), idleMs);
}

export async function gone(db: Queryable, row: Row): Promise<string | undefined> {
  return await write(db, GONE, row);
}

/** Result: whose starts took too long, while the cluster could not be looked at. */
export async function expire(
  db: Queryable,
  startTimeoutMs: number,
  reason: string,
): Promise<readonly { readonly user_id: string; readonly name: string }[]> {
  const { rows } = await db.query<{ user_id: string; name: string }>(EXPIRE, [startTimeoutMs, cut(reason)]);
  return rows;
}

async function write(
  db: Queryable,
  statement: string,
  row: Row,
  ...values: unknown[]
): Promise<string | undefined> {
  const { rows } = await db.query<{ version: string }>(statement, [row.userId, row.version, ...values]);
  return rows[0]?.version;
}

/** Messages of Kubernetes can be long: one that lists every node, for instance. */
const LONGEST_REASON = 1_000;

function cut(reason: string): string {
  return reason.length > LONGEST_REASON ? `${reason.slice(0, LONGEST_REASON - 1)}…` : reason;
}

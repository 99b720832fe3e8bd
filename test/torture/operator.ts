// What a person does while the workers run: changes lanes, replays and discards dead letters.

import { discardDead, replayDead, resizeGroup } from '@pulsebox/outbox';
import type { DeadFilter, DeadId } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { OperatorMishapKind } from './mishaps.ts';
import { isConnectionError } from './patience.ts';
import { holderName } from './schema.ts';

export interface OperatorOptions {
  readonly pool: Pool;
  readonly groups: readonly string[];
}

const MOST_LANES = 5;

/** Result: a few parked events, dead or not. $1 group, $2 the state, $3 what chooses them, $4 how many. */
const SOME_PARKED = `
  select position::float8 as position, key from outbox.parked
  where group_name = $1 and state = $2 order by hashtext(position || $3) limit $4`;

/** `draw` chooses the group, and what exactly is done. A command that the server's crash cuts short is not repeated. */
export async function operate(
  options: OperatorOptions,
  kind: OperatorMishapKind,
  draw: number,
): Promise<void> {
  const group = options.groups[draw % options.groups.length] ?? '';
  const choice = Math.floor(draw / options.groups.length);
  if (kind === 'lanes') {
    await changeLanes(options.pool, group, choice);
    return;
  }
  await (kind === 'replay' ? replay : discard)(options.pool, group, choice).catch((error: unknown) => {
    if (!isConnectionError(error)) throw error;
  });
}

/**
 * Result: dead letters by group, of every `$1`th position. Not those that hang or kill: to replay them takes as long as the
 * first time, and proves the same.
 */
const DEAD = `
  select p.group_name as "group", p.position::float8 as position
  from outbox.parked p join torture.emitted e on e.seq = p.position
  where p.state = 'dead' and e.trial ->> 'kind' in ('report', 'throw') and p.position % $1 = 0`;

/** Once all is quiet. Every run has these two, however slow its machine: everything is tried again. */
export async function replayAll(pool: Pool): Promise<void> {
  const { rows: ids } = await pool.query<DeadId>(DEAD, [1]);
  await replayDead(pool, { filter: { ids } });
}

/** And what waited behind it is delivered. */
export async function discardHalf(pool: Pool): Promise<void> {
  const { rows: ids } = await pool.query<DeadId>(DEAD, [2]);
  await discardDead(pool, { filter: { ids } });
}

/** Begun, and left to the workers: the next change may come before this one is done, and takes its place. */
async function changeLanes(pool: Pool, group: string, choice: number): Promise<void> {
  const lanes = 1 + (choice % MOST_LANES);
  const operator = { holder: holderName(0, process.pid), timeoutMs: 4_000, signal: AbortSignal.abort() };
  // Too busy, or the server is down: then the lanes stay as they are.
  await resizeGroup({ pool, group, lanes, ...operator }).catch(() => undefined);
}

async function replay(pool: Pool, group: string, choice: number): Promise<void> {
  await replayDead(pool, { filter: await chosen(pool, group, choice) });
}

/** Mostly what is dead; now and then a few that would be tried again, or wait in the midst of their key. */
async function discard(pool: Pool, group: string, choice: number): Promise<void> {
  if (choice % 4 !== 0) {
    await discardDead(pool, { filter: await chosen(pool, group, choice) });
    return;
  }
  const some = await someParked(pool, [group, 'parked', String(choice), 3]);
  await discardDead(pool, { filter: { ids: some.map(({ id }) => id) }, state: 'parked' });
}

/** All of the group, one key's, or a few. */
async function chosen(pool: Pool, group: string, choice: number): Promise<DeadFilter> {
  if (choice % 3 === 0) return { group };
  const some = await someParked(pool, [group, 'dead', String(choice), 3]);
  const key = some[0]?.key;
  if (choice % 3 === 1 && typeof key === 'string') return { group, key };
  return { ids: some.map(({ id }) => id) };
}

async function someParked(
  db: Queryable,
  values: readonly [group: string, state: string, choice: string, limit: number],
): Promise<readonly { readonly id: DeadId; readonly key: string | null }[]> {
  const { rows } = await db.query<{ position: number; key: string | null }>(SOME_PARKED, [...values]);
  return rows.map(({ position, key }) => ({ id: { group: values[0], position }, key }));
}

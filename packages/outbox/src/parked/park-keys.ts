// Keys that are held: while an event of a key is parked, the later ones of the key are parked behind it.

import type { Queryable } from '@pulsebox/postgres';
import type { OutboxEvent } from '../log/event.ts';

/**
 * Result: for each key that has parked events, dead ones included, the position of the first. $1 group, $2 keys.
 * Index: parked_key, one probe a key. 0 rows: none of them is held.
 */
export const FIRST_PARKED_OF_KEYS = `
  select k.key, head.position::float8 as position
  from unnest($2::text[]) as k(key)
  cross join lateral (
    select position from outbox.parked where group_name = $1 and key = k.key order by position limit 1
  ) head`;

export interface Sifted {
  readonly free: readonly OutboxEvent[];
  /** In order; each stands behind a parked event of its key. */
  readonly held: readonly OutboxEvent[];
}

/** Only the lane's own reader parks events of its keys, so what it sees stays true until it stores. */
export async function siftHeldKeys(
  db: Queryable,
  group: string,
  events: readonly OutboxEvent[],
): Promise<Sifted> {
  const keys = new Set(events.map((event) => event.key).filter((key) => key !== null));
  if (keys.size === 0) return { free: events, held: [] };
  const { rows } = await db.query<{ key: string; position: number }>(FIRST_PARKED_OF_KEYS, [
    group,
    [...keys],
  ]);
  if (rows.length === 0) return { free: events, held: [] };
  const firstOf = new Map(rows.map(({ key, position }) => [key, position]));
  // One below the first comes from a group that was sought backwards: it is no later one, and overtakes nothing.
  const isHeld = ({ key, position }: OutboxEvent): boolean =>
    key !== null && position >= (firstOf.get(key) ?? Infinity);
  return { free: events.filter((event) => !isHeld(event)), held: events.filter(isHeld) };
}

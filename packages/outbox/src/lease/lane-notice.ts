// Tells the workers that share a group that its lanes are asked for, given back or changed: a hint that saves them the
// wait for their next look, by the same NOTIFY channel as events. Rare: nothing of it is on the way of an event.

import type { Queryable } from '@pulsebox/postgres';

const PREFIX = 'lanes/';

/** $1 the payload. Reads the one row of outbox.setting. */
const ANNOUNCE_LANES = `select pg_notify(notify_channel, $1) from outbox.setting`;

export async function announceLanes(db: Queryable, group: string): Promise<void> {
  await db.query(ANNOUNCE_LANES, [PREFIX + group]);
}

/** The group that a notification is about, or undefined if it is about events. */
export function groupOfNotice(payload: string): string | undefined {
  return payload.startsWith(PREFIX) ? payload.slice(PREFIX.length) : undefined;
}

// The channel on which producers wake readers: one per database, kept there so that trigger and readers agree.

import type { Queryable } from '@pulsebox/postgres';
import { OutboxError } from '../outbox-error.ts';

/** Result: the channel. One row, always. */
const NOTIFY_CHANNEL = `select notify_channel from outbox.setting`;

/** $1 channel. 0 rows: it is that already. */
const SET_NOTIFY_CHANNEL = `update outbox.setting set notify_channel = $1 where notify_channel <> $1`;

const CHANNEL = /^[a-z_][a-z0-9_]{0,62}$/;

export async function notifyChannel(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ notify_channel: string }>(NOTIFY_CHANNEL);
  if (rows[0] === undefined) throw new Error('outbox.setting is empty');
  return rows[0].notify_channel;
}

/**
 * Changes the channel. Readers listen on the new one when they connect next; until then they poll.
 *
 * @returns whether it was another before
 * @throws OUTBOX_CHANNEL_INVALID
 */
export async function setNotifyChannel(db: Queryable, channel: string): Promise<boolean> {
  if (!CHANNEL.test(channel)) {
    throw new OutboxError(
      'OUTBOX_CHANNEL_INVALID',
      `expected a channel such as "outbox_event", got ${JSON.stringify(channel)}`,
      {
        hint: 'a channel has lower-case letters, digits and underscores, and at most 63 of them',
      },
    );
  }
  const { rowCount } = await db.query(SET_NOTIFY_CHANNEL, [channel]);
  return rowCount === 1;
}

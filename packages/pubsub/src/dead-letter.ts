// Messages that could not be understood: kept, counted, listed, discarded.

import type { Queryable } from '@pulsebox/postgres';
import type { PulledMessage } from './pull-stream.ts';

export interface Misunderstood {
  readonly message: PulledMessage;
  readonly reason: string;
}

export interface PubSubDeadLetter {
  readonly subscription: string;
  readonly messageId: string;
  readonly publishedAt: Date;
  readonly receivedAt: Date;
  /** What was expected, and what came. */
  readonly reason: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly data: Buffer;
}

/**
 * Result: none. $1 subscription, $2 message ids, $3 times of publishing, $4 reasons, $5 attributes, $6 data. Index: the
 * primary key. One that is there already was delivered twice.
 */
const KEEP_DEAD_LETTERS = `
  insert into pubsub.dead_letter (subscription, message_id, published_at, reason, attributes, data)
  select $1, message_id, published_at, reason, attributes, data
  from unnest($2::text[], $3::timestamptz[], $4::text[], $5::jsonb[], $6::bytea[])
    as letter(message_id, published_at, reason, attributes, data)
  order by message_id
  on conflict do nothing`;

/** Result: one row. A scan of the primary key; there are few, or an operator is about to hear of it. */
const COUNT_DEAD_LETTERS = `
  select count(*)::int as letters from pubsub.dead_letter`;

/** Result: the newest first. $1 how many at most. Sorts them all. */
const LIST_DEAD_LETTERS = `
  select subscription, message_id, published_at, received_at, reason, attributes, data
  from pubsub.dead_letter
  order by received_at desc, message_id
  limit $1`;

/** Result: one row for each that was discarded. $1 message ids; null: all of them. */
const DISCARD_DEAD_LETTERS = `
  delete from pubsub.dead_letter
  where $1::text[] is null or message_id = any($1)
  returning message_id`;

/**
 * Result: one row for each that was removed. $1 seconds since it came, $2 how many at most. Reads the table; there are few,
 * or an operator has heard of it.
 */
const PRUNE_DEAD_LETTERS = `
  delete from pubsub.dead_letter
  where (subscription, message_id) in (
    select subscription, message_id from pubsub.dead_letter
    where received_at < clock_timestamp() - $1 * interval '1 second'
    order by received_at limit $2
    for update skip locked)
  returning message_id`;

/** In one statement. */
const PRUNED_AT_ONCE = 1_000;

export async function keepDeadLetters(
  client: Queryable,
  subscription: string,
  letters: readonly Misunderstood[],
): Promise<void> {
  if (letters.length === 0) return;
  await client.query(KEEP_DEAD_LETTERS, [
    subscription,
    letters.map(({ message }) => message.id),
    letters.map(({ message }) => message.publishTime),
    letters.map(({ reason }) => storable(reason)),
    letters.map(({ message }) => JSON.stringify(storableAttributes(message.attributes))),
    letters.map(({ message }) => message.data),
  ]);
}

export async function countDeadLetters(client: Queryable): Promise<number> {
  const { rows } = await client.query<{ letters: number }>(COUNT_DEAD_LETTERS);
  return rows[0]?.letters ?? 0;
}

export async function listDeadLetters(client: Queryable, most: number): Promise<readonly PubSubDeadLetter[]> {
  const { rows } = await client.query<{
    subscription: string;
    message_id: string;
    published_at: Date;
    received_at: Date;
    reason: string;
    attributes: Record<string, string>;
    data: Buffer;
  }>(LIST_DEAD_LETTERS, [most]);
  return rows.map((row) => ({
    subscription: row.subscription,
    messageId: row.message_id,
    publishedAt: row.published_at,
    receivedAt: row.received_at,
    reason: row.reason,
    attributes: row.attributes,
    data: row.data,
  }));
}

/** @returns the ids of those that were there */
export async function discardDeadLetters(
  client: Queryable,
  which: readonly string[] | 'all',
): Promise<readonly string[]> {
  const { rows } = await client.query<{ message_id: string }>(DISCARD_DEAD_LETTERS, [
    which === 'all' ? null : which,
  ]);
  return rows.map((row) => row.message_id);
}

/**
 * Removes those that came so long ago, in statements of 1,000; any number of processes may do it.
 *
 * @returns how many there were
 */
export async function pruneDeadLetters(
  client: Queryable,
  { olderThanSeconds, signal }: { readonly olderThanSeconds: number; readonly signal?: AbortSignal },
): Promise<number> {
  for (let pruned = 0; ; ) {
    signal?.throwIfAborted();
    const { rows } = await client.query(PRUNE_DEAD_LETTERS, [olderThanSeconds, PRUNED_AT_ONCE]);
    pruned += rows.length;
    if (rows.length < PRUNED_AT_ONCE) return pruned;
  }
}

function storableAttributes(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [storable(name), storable(value)]),
  );
}

/** PostgreSQL holds no zero characters, and JSON in it no halves of surrogate pairs. */
function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\u{FFFD}');
}

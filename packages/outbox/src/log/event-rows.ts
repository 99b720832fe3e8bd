// Runs a query for events and makes events of its rows: the hot path between the driver and a batch.

import type { Queryable } from '@pulsebox/postgres';
import type { JsonValue, OutboxEvent } from './event.ts';
import { eventTypes } from './event-types.ts';

/** What the first row of a result carries in its payload; the others are events. Each query says which of it. */
export interface Head {
  readonly snapshot: string;
  /** Null: there is nothing to deliver. */
  readonly ceiling: string | null;
  /** The database's clock, in seconds since 1970. */
  readonly readAt: number;
}

type Row = readonly [
  seq: number,
  topic: string,
  key: string | null,
  payload: JsonValue,
  headers: Readonly<Record<string, JsonValue>>,
  createdAtSeconds: number,
];

export interface Answer<OfHead> {
  readonly head: OfHead;
  readonly events: readonly OutboxEvent[];
  readonly readAtMs: number;
  /** `performance.now()` when it arrived. */
  readonly receivedAtMs: number;
}

export async function queryEvents<OfHead extends Pick<Head, 'readAt'> = Head>(
  db: Queryable,
  text: string,
  values: unknown[],
): Promise<Answer<OfHead>> {
  const { rows } = await db.query<[...Row]>({ text, values, rowMode: 'array', types: eventTypes });
  const receivedAtMs = performance.now();
  const [first, ...found] = rows;
  if (first === undefined) throw new Error('the log answered without its first row');
  const head = first[3] as unknown as OfHead;
  const events = found.map(toEvent);
  // The driver's promises for this answer were made before it came and have grown old by now: whatever they hold is
  // copied by every garbage collection until a full one. Emptied, the rows cost a drain a quarter less processor time.
  rows.length = 0;
  return { head, events, readAtMs: head.readAt * 1_000, receivedAtMs };
}

function toEvent(row: Row): OutboxEvent {
  const [position, topic, key, payload, headers, createdAtSeconds] = row;
  return { position, topic, key, payload, headers, createdAt: new Date(createdAtSeconds * 1_000) };
}

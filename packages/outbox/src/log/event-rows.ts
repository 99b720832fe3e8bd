// Runs a query for events and makes events of its rows: the hot path between the driver and a batch.

import type { Queryable } from '@pulsebox/postgres';
import type { JsonValue, OutboxEvent } from './event.ts';
import { boundedTypes, LEFT_OUT } from './event-types.ts';

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
  /** Whether there were more, which would have been too many bytes. Then there is at least one. */
  readonly cut: boolean;
  /** Of the events' JSON, in characters. */
  readonly size: number;
  readonly readAtMs: number;
  /** `performance.now()` when it arrived. */
  readonly receivedAtMs: number;
}

/**
 * A batch of many large events would fill the memory of a worker: what its JSON makes of it is several times as large, and
 * there are two of them, the one with the handler and the one read ahead.
 */
export const MOST_CHARACTERS: number = 16 * 1_048_576;

/** How many events fit into a batch that are as large as these: more would be sent in vain. */
export function fitting(events: number, size: number, mostCharacters: number): number {
  return events === 0 || size === 0 ? Infinity : Math.max(1, Math.floor((mostCharacters * events) / size));
}

/** @param mostCharacters of JSON, after which no event is taken any more */
export async function queryEvents<OfHead extends Pick<Head, 'readAt'> = Head>(
  db: Queryable,
  text: string,
  values: unknown[],
  mostCharacters: number = MOST_CHARACTERS,
): Promise<Answer<OfHead>> {
  const { types, size } = boundedTypes(mostCharacters);
  const { rows } = await db.query<[...Row]>({ text, values, rowMode: 'array', types });
  const receivedAtMs = performance.now();
  const [first, ...found] = rows;
  if (first === undefined) throw new Error('the log answered without its first row');
  const head = first[3] as unknown as OfHead;
  const cut = (found.at(-1)?.[3] as unknown) === LEFT_OUT;
  const kept = cut ? found.slice(0, found.findIndex(isLeftOut)) : found;
  const events = kept.map(toEvent);
  // The driver's promises for this answer were made before it came and have grown old by now: whatever they hold is
  // copied by every garbage collection until a full one. Emptied, the rows cost a drain a quarter less processor time.
  rows.length = 0;
  return { head, events, cut, size: size(), readAtMs: head.readAt * 1_000, receivedAtMs };
}

function isLeftOut(row: Row): boolean {
  return (row[3] as unknown) === LEFT_OUT;
}

function toEvent(row: Row): OutboxEvent {
  const [position, topic, key, payload, headers, createdAtSeconds] = row;
  return { position, topic, key, payload, headers, createdAt: new Date(createdAtSeconds * 1_000) };
}

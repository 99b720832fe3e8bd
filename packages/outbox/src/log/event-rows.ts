// The answer to a look at the log, a head and then events: as what rows a statement returns it, and what is made of
// them. The hot path between the driver and a batch.

import type { Queryable } from '@pulsebox/postgres';
import type { JsonValue, OutboxEvent } from './event.ts';
import { boundedTypes, LEFT_OUT } from './event-types.ts';

/**
 * The first row: one without a seq. It carries the payload of `head`, which the statement defines as `head(payload)`, and
 * the clock as it stands once that is known.
 */
export const HEAD_ROW = `
  select null::bigint as seq, null as topic, null as key, head.payload, null::jsonb as headers,
         date_part('epoch', clock_timestamp()) as created_at
  from head`;

/** Each of the others, of an `e` with the columns of the log. Begins a select. */
export const EVENT_ROW = `
  select e.seq, e.topic, e.key, e.payload, e.headers, date_part('epoch', e.created_at)`;

type Row = readonly [
  seq: number,
  topic: string,
  key: string | null,
  payload: JsonValue,
  headers: Readonly<Record<string, JsonValue>>,
  createdAtSeconds: number,
];

export interface Answer<Head> {
  /** The payload of the first row. */
  readonly head: Head;
  readonly events: readonly OutboxEvent[];
  /** Whether there were more, which would have been too many bytes. Then there is at least one. */
  readonly cut: boolean;
  /** Of the events' JSON, in characters. */
  readonly size: number;
  /** The database's clock, in milliseconds since 1970. */
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

/**
 * @param text a statement of one HEAD_ROW and then EVENT_ROWs
 * @param mostCharacters of JSON, after which no event is taken any more
 */
export async function queryEvents<Head>(
  db: Queryable,
  text: string,
  values: unknown[],
  mostCharacters: number = MOST_CHARACTERS,
): Promise<Answer<Head>> {
  const { types, size } = boundedTypes(mostCharacters);
  const { rows } = await db.query<[...Row]>({ text, values, rowMode: 'array', types });
  const receivedAtMs = performance.now();
  const [first, ...found] = rows;
  if (first === undefined) throw new Error('the log answered without its first row');
  const [, , , head, , readAtSeconds] = first;
  const cut = (found.at(-1)?.[3] as unknown) === LEFT_OUT;
  const kept = cut ? found.slice(0, found.findIndex(isLeftOut)) : found;
  const events = kept.map(toEvent);
  // The driver's promises for this answer were made before it came and have grown old by now: whatever they hold is
  // copied by every garbage collection until a full one. Emptied, the rows cost a drain a quarter less processor time.
  rows.length = 0;
  return {
    head: head as unknown as Head,
    events,
    cut,
    size: size(),
    readAtMs: readAtSeconds * 1_000,
    receivedAtMs,
  };
}

function isLeftOut(row: Row): boolean {
  return (row[3] as unknown) === LEFT_OUT;
}

function toEvent(row: Row): OutboxEvent {
  const [position, topic, key, payload, headers, createdAtSeconds] = row;
  return { position, topic, key, payload, headers, createdAt: new Date(createdAtSeconds * 1_000) };
}

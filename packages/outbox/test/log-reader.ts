// A reader without a lease: it reads after its cursor, takes what it read for delivered, and moves on.

import type { Queryable } from '@pulsebox/postgres';
import type { Cursor } from '../src/read/cursor.ts';
import { beginningOfLog } from '../src/read/cursor.ts';
import { MOST_CHARACTERS } from '../src/log/event-rows.ts';
import type { OutboxEvent } from '../src/log/event.ts';
import { readBatch } from '../src/read/read-batch.ts';

export interface LogReader {
  readonly cursor: Cursor;
  /** The labels of one batch. */
  read(limit?: number): Promise<string[]>;
  /** The labels of all batches up to the end of the log. */
  drain(limit?: number): Promise<string[]>;
}

/** @param characters of JSON that a batch holds. Default: as of a relay. */
export function logReader(
  db: Queryable,
  start: Cursor = beginningOfLog,
  characters: number = MOST_CHARACTERS,
): LogReader {
  let cursor = start;
  async function read(limit = 100): Promise<string[]> {
    const batch = await readBatch(db, cursor, { events: limit, characters });
    cursor = batch.next;
    return batch.events.map(labelOf);
  }
  return {
    get cursor(): Cursor {
      return cursor;
    },
    read,
    async drain(limit): Promise<string[]> {
      const labels: string[] = [];
      for (;;) {
        const batch = await read(limit);
        if (batch.length === 0) return labels;
        labels.push(...batch);
      }
    },
  };
}

/** Tests put a string into the payload to know an event by. */
export function labelOf(event: OutboxEvent): string {
  return typeof event.payload === 'string' ? event.payload : JSON.stringify(event.payload);
}

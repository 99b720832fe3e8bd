// Three writers and a reader of one log, for a test file: who commits when is up to the test.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, inject } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { emitAll } from '../src/log/emit.ts';
import { logReader } from './log-reader.ts';
import type { LogReader } from './log-reader.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

export interface LogDesk {
  readonly database: TestDatabase;
  /** Writers that each test has anew. */
  readonly a: Writer;
  readonly b: Writer;
  readonly c: Writer;
  /** From the end of the log as it was when the test began. */
  readonly reader: LogReader;
  readerAtTheEnd(): Promise<LogReader>;
  /** In one transaction of their own. Labels are `key#n`. */
  commit(...labels: string[]): Promise<void>;
}

/** To be called where hooks are, once a file. */
export function logDesk(): LogDesk {
  let database: TestDatabase;
  let reader: LogReader;
  let a: Writer;
  let b: Writer;
  let c: Writer;

  async function readerAtTheEnd(): Promise<LogReader> {
    const group = `g-${crypto.randomUUID()}`;
    await registerGroup(database.pool, group, 'end');
    return logReader(database.pool, (await loadCursor(database.pool, { group, lane: 0 }))!.cursor);
  }

  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'));
  });
  afterAll(async () => {
    await database.drop();
  });
  beforeEach(async () => {
    [a, b, c] = await Promise.all([
      openWriter(database.pool),
      openWriter(database.pool),
      openWriter(database.pool),
    ]);
    reader = await readerAtTheEnd();
  });
  afterEach(async () => {
    await Promise.all([a, b, c].map(async (writer) => writer.close()));
  });

  return {
    get database() {
      return database;
    },
    get a() {
      return a;
    },
    get b() {
      return b;
    },
    get c() {
      return c;
    },
    get reader() {
      return reader;
    },
    readerAtTheEnd,
    async commit(...labels) {
      await emitAll(
        database.pool,
        labels.map((label) => ({ topic: 'test.written', key: label.split('#')[0]!, payload: label })),
        { autocommit: true },
      );
    },
  };
}

/** Labels `key#from` to `key#to`. */
export function many(key: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `${key}#${from + n}`);
}

/** xmax is the whole server's: a commit in between, by any other test, puts a transaction into the list instead. */
export const MOST_ATTEMPTS = 1_000;

/** An event and its commit in one round trip, so that little comes in between. */
export function publish(label: string): string {
  return `insert into outbox.event (topic, key, payload)
          values ('test.written', '${label.split('#')[0]}', '"${label}"'); commit`;
}

/** The parts of a snapshot that decide which arm finds an event. */
export function partsOf(snapshot: string): { xmax: bigint; open: string[] } {
  const [, xmax, open] = snapshot.split(':');
  return { xmax: BigInt(xmax!), open: open === '' ? [] : open!.split(',') };
}

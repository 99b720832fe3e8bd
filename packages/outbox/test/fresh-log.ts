// A log of its own for each test of a file, and writers on it that are closed with it.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, inject } from 'vitest';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

export interface FreshLog {
  readonly database: TestDatabase;
  writer(): Promise<Writer>;
  /** By a writer of its own. Labels are `key#n`. */
  commit(...labels: readonly string[]): Promise<void>;
}

/** To be called where hooks are, once a file. */
export function freshLog(): FreshLog {
  let database: TestDatabase;
  const writers: Writer[] = [];

  beforeEach(async () => {
    database = await createTestDatabase(inject('serverUrl'));
  });
  afterEach(async () => {
    for (const writer of writers.splice(0)) await writer.close();
    await database.drop();
  });

  async function writer(): Promise<Writer> {
    const opened = await openWriter(database.pool);
    writers.push(opened);
    return opened;
  }

  return {
    get database() {
      return database;
    },
    writer,
    async commit(...labels) {
      const one = await writer();
      await one.emit(...labels);
      await one.commit();
    },
  };
}

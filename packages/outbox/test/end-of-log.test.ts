import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { Cursor } from '../src/read/cursor.ts';
import { emit } from '../src/log/emit.ts';
import { endOfLog } from '../src/read/end-of-log.ts';
import { readBatch } from '../src/read/read-batch.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

async function commit(label: string): Promise<void> {
  await emit(database.pool, { topic: 'test.written', payload: label }, { autocommit: true });
}

async function labelsAfter(cursor: Cursor): Promise<unknown[]> {
  const { events } = await readBatch(database.pool, cursor, 100);
  return events.map((event) => event.payload);
}

test('the end of an empty log is where it begins', async () => {
  const end = await endOfLog(database.pool);
  expect(end).toMatchObject({ position: 0, frozen: null });
  await commit('first');
  expect(await labelsAfter(end)).toEqual(['first']);
});

test('what was committed before is not read from there, what is committed later is', async () => {
  await commit('before');
  const end = await endOfLog(database.pool);
  expect(await labelsAfter(end)).toEqual([]);
  await commit('after');
  expect(await labelsAfter(end)).toEqual(['after']);
});

test('an event that was written before and commits later is read from there, wherever it stands', async () => {
  const below = await database.pool.connect();
  await below.query('begin');
  await emit(below, { topic: 'test.written', payload: 'written below the end' });
  const silent = await database.pool.connect();
  await silent.query('begin');
  await silent.query('select pg_current_xact_id()');
  await commit('committed before');
  const end = await endOfLog(database.pool);
  await emit(silent, { topic: 'test.written', payload: 'written above the end' });
  await commit('committed after');
  await below.query('commit');
  await silent.query('commit');
  expect(await labelsAfter(end)).toEqual([
    'written below the end',
    'written above the end',
    'committed after',
  ]);
  below.release();
  silent.release();
});

import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { createPartitionsAhead } from '../src/partitions.ts';
import { logReader } from './log-reader.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

let database: TestDatabase;
const writers: Writer[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  for (const writer of writers.splice(0)) await writer.close();
});
afterAll(async () => {
  await database.drop();
});

async function partitions(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits
     where inhparent = 'outbox.event'::regclass order by length(inhrelid::regclass::text), 1`,
  );
  return rows.map((row) => row.name);
}

test('a fresh log has room for 20 million events, and making more of it does nothing', async () => {
  expect(await partitions()).toEqual([
    'outbox.event_until_10000000',
    'outbox.event_until_20000000',
    'outbox.event_until_30000000',
  ]);
  expect(await createPartitionsAhead(database.pool)).toBe(0);
});

test('many workers at once make each partition once, while producers go on writing', async () => {
  const writer = await openWriter(database.pool);
  writers.push(writer);
  await writer.emit('open#1');
  await database.pool.query(`select setval('outbox.event_seq', 25000000)`);
  const made = Promise.all(Array.from({ length: 6 }, async () => createPartitionsAhead(database.pool)));
  // An open transaction that has written to the log does not keep partitions from being attached.
  expect((await made).toSorted((a, b) => a - b)).toEqual([0, 0, 0, 0, 0, 2]);
  await writer.emit('open#2');
  await writer.commit();
  expect(await partitions()).toHaveLength(5);
});

test('a new partition has what the log has: keys, checks, and room for late and new events', async () => {
  await database.pool.query(`select setval('outbox.event_seq', 39999998)`);
  await createPartitionsAhead(database.pool);
  const [a, b] = [await openWriter(database.pool), await openWriter(database.pool)];
  writers.push(a, b);
  const reader = logReader(database.pool);
  await reader.drain();
  await a.emit('k#1', 'k#2', 'k#3');
  await b.emit('m#1');
  await b.commit();
  expect(await reader.read()).toEqual(['m#1']);
  await a.commit();
  expect(await reader.drain(1)).toEqual(['k#1', 'k#2', 'k#3']);
  const { rows } = await database.pool.query<{ constraints: string }>(
    `select conrelid::regclass::text as partition, array_agg(contype::text order by conname) as constraints
     from pg_constraint where conrelid in ('outbox.event_until_10000000'::regclass, 'outbox.event_until_50000000'::regclass)
       and contype in ('c', 'p') group by 1 order by 1`,
  );
  expect(rows[1]?.constraints).toEqual(rows[0]?.constraints);
  await expect(
    database.pool.query(`insert into outbox.event_until_50000000 (seq, topic, payload) values (1, 'a', '1')`),
  ).rejects.toThrow(/partition constraint/);
});

test('producers wait for no partition being made', async () => {
  await database.pool.query(`select setval('outbox.event_seq', 55000000)`);
  const making = await database.pool.connect();
  try {
    await making.query('begin');
    await making.query('select outbox.create_partitions(2)');
    const writer = await openWriter(database.pool);
    writers.push(writer);
    await writer.emit('k#1');
    await writer.commit();
    await making.query('commit');
  } finally {
    making.release();
  }
  await eventually(async () => (await partitions()).includes('outbox.event_until_70000000'));
  expect(await createPartitionsAhead(database.pool)).toBe(0);
});

// More late events than a batch holds: they are paged through under one frozen snapshot.

import { createTestDatabase } from '@pulsebox/test-support';
import { expect, inject, test } from 'vitest';
import { emitAll } from '../src/log/emit.ts';
import { logDesk, many, MOST_ATTEMPTS, partsOf, publish } from './log-desk.ts';
import { logReader } from './log-reader.ts';
import { openWriter } from './writer.ts';

const desk = logDesk();

test('pages through a late transaction of 5,000 events, and takes no new ones until it is done', async () => {
  await desk.a.emit(...many('big', 1, 5_000));
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  await desk.a.commit();
  await desk.commit('n#1');
  const delivered: string[] = [];
  for (let page = 0; page < 50; page += 1) {
    const batch = await desk.reader.read(100);
    expect(batch).toHaveLength(100);
    delivered.push(...batch);
  }
  expect(delivered).toEqual(many('big', 1, 5_000));
  expect(await desk.reader.drain(100)).toEqual(['n#1']);
});

test('pages through one that was above xmax', async () => {
  for (let attempt = 1; ; attempt += 1) {
    const key = `big${attempt}`;
    await desk.b.touch();
    await desk.a.emit(...many(key, 1, 250));
    const late = await desk.a.xid();
    await desk.b.run(publish(`m#${attempt}`));
    expect(await desk.reader.read(100)).toEqual([`m#${attempt}`]);
    const { xmax } = partsOf(desk.reader.cursor.snapshot);
    await desk.a.commit();
    expect(await desk.reader.drain(100)).toEqual(many(key, 1, 250));
    if (late >= xmax) return;
    expect(attempt).toBeLessThan(MOST_ATTEMPTS);
  }
});

test('pages through several at once in the order of their positions', async () => {
  const expected: string[] = [];
  for (let n = 0; n < 40; n += 1) {
    for (const [name, writer] of [
      ['a', desk.a],
      ['b', desk.b],
      ['c', desk.c],
    ] as const) {
      const labels = many(name, n * 10 + 1, n * 10 + 10);
      await writer.emit(...labels);
      expected.push(...labels);
    }
  }
  await desk.commit('m#1');
  expect(await desk.reader.read(100)).toEqual(['m#1']);
  await desk.b.commit();
  await desk.a.commit();
  await desk.c.commit();
  expect(await desk.reader.drain(100)).toEqual(expected);
});

test('delivers what commits during the paging afterwards, before new events of the same key', async () => {
  await desk.a.emit(...many('big', 1, 30));
  await desk.b.emit('k#1');
  await desk.commit('m#1');
  expect(await desk.reader.read(10)).toEqual(['m#1']);
  await desk.a.commit();
  expect(await desk.reader.read(10)).toEqual(many('big', 1, 10));
  expect(desk.reader.cursor.frozen).not.toBeNull();
  // Late itself, below the page's position and above it, and not seen by the frozen snapshot.
  await desk.b.commit();
  await desk.commit('k#2');
  expect(await desk.reader.drain(10)).toEqual([...many('big', 11, 30), 'k#1', 'k#2']);
});

test('carries on with a page from a cursor that was stored as text', async () => {
  await desk.a.emit(...many('big', 1, 25));
  await desk.commit('m#1');
  await desk.reader.read(10);
  await desk.a.commit();
  await desk.reader.read(10);
  const restarted = logReader(desk.database.pool, structuredClone(desk.reader.cursor));
  expect(await restarted.drain(10)).toEqual(many('big', 11, 25));
});

test('ends with an exactly full last page and goes on to what follows', async () => {
  await desk.a.emit(...many('big', 1, 20));
  await desk.commit('m#1');
  await desk.reader.read(10);
  await desk.a.commit();
  await desk.commit('n#1');
  expect(await desk.reader.read(10)).toEqual(many('big', 1, 10));
  expect(await desk.reader.read(10)).toEqual(many('big', 11, 20));
  expect(await desk.reader.read(10)).toEqual(['n#1']);
  expect(await desk.reader.read(10)).toEqual([]);
});

test('keeps the order of late events when the batch is a large part of the log', async () => {
  // With a limit near the size of the log a join of the late events with it looks cheap to the planner.
  const own = await createTestDatabase(inject('serverUrl'));
  const writers = await Promise.all(Array.from({ length: 4 }, async () => openWriter(own.pool)));
  try {
    const expected: string[] = [];
    for (let n = 0; n < 300; n += 1) {
      const w = (n * 7) % writers.length;
      const labels = many(`w${w}`, n * 20 + 1, n * 20 + 20);
      await writers[w]!.emit(...labels);
      expected.push(...labels);
    }
    await emitAll(own.pool, [{ topic: 'test.written', payload: 'm#1' }], { autocommit: true });
    await own.pool.query('analyze outbox.event');
    const late = logReader(own.pool);
    expect(await late.read(10_000)).toEqual(['m#1']);
    for (const writer of writers) await writer.commit();
    await own.pool.query('analyze outbox.event');
    expect(await late.drain(4_000)).toEqual(expected);
  } finally {
    for (const writer of writers) await writer.close();
    await own.drop();
  }
});

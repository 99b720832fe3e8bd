// Events that commit after higher positions were read.

import { expect, test } from 'vitest';
import { logDesk, MOST_ATTEMPTS, partsOf, publish } from './log-desk.ts';
import { openWriter } from './writer.ts';

const desk = logDesk();

test('delivers an event whose transaction was in the list of open ones when higher positions were read', async () => {
  await desk.a.emit('k#1');
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  expect(partsOf(desk.reader.cursor.snapshot).open).toContain(String(await desk.a.xid()));
  await desk.a.commit();
  expect(await desk.reader.read()).toEqual(['k#1']);
  expect(await desk.reader.read()).toEqual([]);
});

test('delivers an event whose transaction was open at or above xmax, and so in no list', async () => {
  for (let attempt = 1; ; attempt += 1) {
    await desk.b.touch();
    await desk.a.emit(`k#${attempt}`);
    const late = await desk.a.xid();
    await desk.b.run(publish(`m#${attempt}`));
    expect(await desk.reader.read()).toEqual([`m#${attempt}`]);
    const { xmax, open } = partsOf(desk.reader.cursor.snapshot);
    await desk.a.commit();
    expect(await desk.reader.read()).toEqual([`k#${attempt}`]);
    expect(await desk.reader.read()).toEqual([]);
    if (late >= xmax && !open.includes(String(late))) return;
    expect(attempt).toBeLessThan(MOST_ATTEMPTS);
  }
});

test('puts late events before new ones, each in the order of their positions', async () => {
  await desk.a.emit('a#1');
  await desk.b.emit('b#1');
  await desk.a.emit('a#2');
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  await desk.commit('n#1', 'n#2');
  await desk.b.commit();
  await desk.a.commit();
  expect(await desk.reader.read()).toEqual(['a#1', 'b#1', 'a#2', 'n#1', 'n#2']);
  expect(await desk.reader.read()).toEqual([]);
});

test('keeps the order of a key whose earlier event is late and whose later one is new', async () => {
  await desk.a.emit('k#1');
  await desk.commit('m#1');
  await desk.reader.read();
  await desk.a.commit();
  await desk.commit('k#2');
  expect(await desk.reader.read()).toEqual(['k#1', 'k#2']);
});

test('delivers a transaction that stays open across many batches once, when it commits', async () => {
  await desk.a.emit('a#1');
  for (let n = 1; n <= 20; n += 1) {
    await desk.commit(`m#${n}`);
    expect(await desk.reader.read()).toEqual([`m#${n}`]);
  }
  await desk.a.emit('a#2');
  await desk.a.commit();
  expect(await desk.reader.read()).toEqual(['a#1', 'a#2']);
  expect(await desk.reader.read()).toEqual([]);
});

test('splits a transaction that has events on both sides of the position', async () => {
  await desk.a.emit('a#1');
  await desk.commit('m#1');
  await desk.reader.read();
  await desk.commit('n#1');
  await desk.a.emit('a#2');
  await desk.a.commit();
  expect(await desk.reader.read()).toEqual(['a#1', 'n#1', 'a#2']);
});

test('never delivers what was rolled back, late or new', async () => {
  await desk.a.emit('a#1');
  await desk.commit('m#1');
  await desk.reader.read();
  await desk.a.emit('a#2');
  await desk.a.rollback();
  await desk.commit('m#2');
  expect(await desk.reader.drain()).toEqual(['m#2']);
});

test('delivers what a savepoint kept and nothing of one that was rolled back', async () => {
  await desk.a.emit('a#1');
  await desk.a.run('savepoint kept');
  await desk.a.emit('a#2');
  await desk.a.run('release savepoint kept');
  await desk.a.run('savepoint dropped');
  await desk.a.emit('a#3');
  await desk.a.run('rollback to savepoint dropped');
  await desk.a.emit('a#4');
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  await desk.a.commit();
  expect(await desk.reader.drain()).toEqual(['a#1', 'a#2', 'a#4']);
});

test('delivers a prepared transaction when it is committed, however long after its session ended', async () => {
  const writer = await openWriter(desk.database.pool);
  const id = `prepared-${crypto.randomUUID()}`;
  await writer.emit('p#1');
  await writer.run(`prepare transaction '${id}'`);
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  await writer.close();
  await desk.commit('m#2');
  expect(await desk.reader.read()).toEqual(['m#2']);
  await desk.database.pool.query(`commit prepared '${id}'`);
  expect(await desk.reader.drain()).toEqual(['p#1']);
});

test('finds an event whose transaction began long before it and wrote it long after', async () => {
  await desk.a.touch();
  await desk.commit('m#1');
  expect(await desk.reader.read()).toEqual(['m#1']);
  await desk.a.emit('a#1');
  await desk.commit('m#2');
  expect(await desk.reader.read()).toEqual(['m#2']);
  await desk.a.commit();
  expect(await desk.reader.drain()).toEqual(['a#1']);
});

// What a batch holds, and what a look costs that finds nothing.

import { expect, test } from 'vitest';
import { emitAll } from '../src/log/emit.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { logDesk } from './log-desk.ts';
import { labelOf } from './log-reader.ts';

const desk = logDesk();

test('never returns more than the limit of each kind', async () => {
  await desk.a.emit('a#1', 'a#2', 'a#3');
  await desk.commit('m#1');
  expect(await desk.reader.read(3)).toEqual(['m#1']);
  await desk.commit('n#1', 'n#2', 'n#3', 'n#4');
  await desk.a.commit();
  expect(await desk.reader.read(3)).toEqual(['a#1', 'a#2', 'a#3', 'n#1', 'n#2', 'n#3']);
  expect(await desk.reader.read(3)).toEqual(['n#4']);
});

test('of a lane: walks on through late events the first of which are all of another', async () => {
  const { pool } = desk.database;
  const { rows } = await pool.query<{ key: string; lane: number }>(
    `select 'k' || n as key, outbox.lane_of('k' || n, 1, 2) as lane from generate_series(1, 50) n`,
  );
  const keyIn = (lane: number): string => rows.find((row) => row.lane === lane)!.key;
  const slice = { lane: 0, lanes: 2 };
  const own = Array.from({ length: 7 }, (_, n) => `${keyIn(0)}#${n}`);
  await desk.a.emit(...Array.from({ length: 30 }, (_, n) => `${keyIn(1)}#${n}`), ...own);
  await desk.commit(`${keyIn(1)}#later`);
  let { next } = await readBatch(pool, desk.reader.cursor, 5, slice);
  await desk.a.commit();
  const labels: string[] = [];
  for (let over = false; !over; ) {
    const batch = await readBatch(pool, next, 5, slice);
    labels.push(...batch.events.map(labelOf));
    over = batch.events.length === 0 && batch.reached === 'end';
    next = batch.next;
  }
  expect(labels).toEqual(own);
});

test('moves nothing but the snapshot when there is nothing', async () => {
  await desk.a.emit('a#1');
  await desk.commit('m#1');
  expect(await desk.reader.read(10)).toEqual(['m#1']);
  await desk.commit();
  const before = desk.reader.cursor;
  const { events, next } = await readBatch(desk.database.pool, before, 10);
  expect(events).toEqual([]);
  expect(next).toEqual({ ...before, snapshot: next.snapshot });
  await desk.a.commit();
  const { events: late } = await readBatch(desk.database.pool, next, 10);
  expect(late).toHaveLength(1);
});

test('takes no transaction id for an empty look, and one for a batch', async () => {
  // Other databases of the server take ids too, so it is asked of the transaction itself.
  const client = await desk.database.pool.connect();
  const taken = async (): Promise<boolean> => {
    await client.query('begin');
    const { rows } = await (async () => {
      await readBatch(client, desk.reader.cursor, 10);
      return await client.query<{ taken: boolean }>(
        'select pg_current_xact_id_if_assigned() is not null as taken',
      );
    })();
    await client.query('rollback');
    return rows[0]!.taken;
  };
  try {
    expect(await taken()).toBe(false);
    await desk.commit('m#1');
    expect(await taken()).toBe(true);
  } finally {
    client.release();
  }
});

test('gives payload, headers, key, topic and time as they were written', async () => {
  const payload = { text: 'ü "quoted" \\ \u{1F600}', list: [1, null, true], nested: { a: 0.5 } };
  await emitAll(
    desk.database.pool,
    [
      { topic: 'item.upserted', key: 'item:1', payload, headers: { trace: 'abc' } },
      { topic: 'item.upserted', payload: null },
    ],
    { autocommit: true },
  );
  const { events, readAtMs } = await readBatch(desk.database.pool, desk.reader.cursor, 10);
  expect(events).toMatchObject([
    { topic: 'item.upserted', key: 'item:1', payload, headers: { trace: 'abc' } },
    { topic: 'item.upserted', key: null, payload: null, headers: {} },
  ]);
  const writtenMs = events[0]!.createdAt.getTime();
  const { rows } = await desk.database.pool.query<{ at: Date }>(
    'select max(created_at) as at from outbox.event',
  );
  expect(Math.abs(writtenMs - rows[0]!.at.getTime())).toBeLessThan(1_000);
  expect(readAtMs).toBeGreaterThanOrEqual(writtenMs);
});

test('a group that starts at the end is given the events of transactions that were open, and nothing that was committed', async () => {
  await desk.commit('old#1');
  await desk.a.emit('a#1');
  await desk.commit('old#2');
  const late = await desk.readerAtTheEnd();
  await desk.a.commit();
  await desk.commit('new#1');
  expect(await late.drain()).toEqual(['a#1', 'new#1']);
});

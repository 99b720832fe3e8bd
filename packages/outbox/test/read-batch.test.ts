import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { logReader } from './log-reader.ts';
import type { LogReader } from './log-reader.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

let database: TestDatabase;
let reader: LogReader;
let a: Writer;
let b: Writer;
let c: Writer;

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

async function readerAtTheEnd(): Promise<LogReader> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(database.pool, group, 'end');
  return logReader(database.pool, (await loadCursor(database.pool, { group, lane: 0 }))!.cursor);
}

async function commit(...labels: string[]): Promise<void> {
  await emitAll(
    database.pool,
    labels.map((label) => ({ topic: 'test.written', key: label.split('#')[0]!, payload: label })),
    { autocommit: true },
  );
}

/** xmax is the whole server's: a commit in between, by any other test, puts a transaction into the list instead. */
const MOST_ATTEMPTS = 1_000;

/** An event and its commit in one round trip, so that little comes in between. */
function publish(label: string): string {
  return `insert into outbox.event (topic, key, payload)
          values ('test.written', '${label.split('#')[0]}', '"${label}"'); commit`;
}

/** The parts of a snapshot that decide which arm finds an event. */
function partsOf(snapshot: string): { xmax: bigint; open: string[] } {
  const [, xmax, open] = snapshot.split(':');
  return { xmax: BigInt(xmax!), open: open === '' ? [] : open!.split(',') };
}

function many(key: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `${key}#${from + n}`);
}

describe('late events', () => {
  test('delivers an event whose transaction was in the list of open ones when higher positions were read', async () => {
    await a.emit('k#1');
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    expect(partsOf(reader.cursor.snapshot).open).toContain(String(await a.xid()));
    await a.commit();
    expect(await reader.read()).toEqual(['k#1']);
    expect(await reader.read()).toEqual([]);
  });

  test('delivers an event whose transaction was open at or above xmax, and so in no list', async () => {
    for (let attempt = 1; ; attempt += 1) {
      await b.touch();
      await a.emit(`k#${attempt}`);
      const late = await a.xid();
      await b.run(publish(`m#${attempt}`));
      expect(await reader.read()).toEqual([`m#${attempt}`]);
      const { xmax, open } = partsOf(reader.cursor.snapshot);
      await a.commit();
      expect(await reader.read()).toEqual([`k#${attempt}`]);
      expect(await reader.read()).toEqual([]);
      if (late >= xmax && !open.includes(String(late))) return;
      expect(attempt).toBeLessThan(MOST_ATTEMPTS);
    }
  });

  test('puts late events before new ones, each in the order of their positions', async () => {
    await a.emit('a#1');
    await b.emit('b#1');
    await a.emit('a#2');
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    await commit('n#1', 'n#2');
    await b.commit();
    await a.commit();
    expect(await reader.read()).toEqual(['a#1', 'b#1', 'a#2', 'n#1', 'n#2']);
    expect(await reader.read()).toEqual([]);
  });

  test('keeps the order of a key whose earlier event is late and whose later one is new', async () => {
    await a.emit('k#1');
    await commit('m#1');
    await reader.read();
    await a.commit();
    await commit('k#2');
    expect(await reader.read()).toEqual(['k#1', 'k#2']);
  });

  test('delivers a transaction that stays open across many batches once, when it commits', async () => {
    await a.emit('a#1');
    for (let n = 1; n <= 20; n += 1) {
      await commit(`m#${n}`);
      expect(await reader.read()).toEqual([`m#${n}`]);
    }
    await a.emit('a#2');
    await a.commit();
    expect(await reader.read()).toEqual(['a#1', 'a#2']);
    expect(await reader.read()).toEqual([]);
  });

  test('splits a transaction that has events on both sides of the position', async () => {
    await a.emit('a#1');
    await commit('m#1');
    await reader.read();
    await commit('n#1');
    await a.emit('a#2');
    await a.commit();
    expect(await reader.read()).toEqual(['a#1', 'n#1', 'a#2']);
  });

  test('never delivers what was rolled back, late or new', async () => {
    await a.emit('a#1');
    await commit('m#1');
    await reader.read();
    await a.emit('a#2');
    await a.rollback();
    await commit('m#2');
    expect(await reader.drain()).toEqual(['m#2']);
  });

  test('delivers what a savepoint kept and nothing of one that was rolled back', async () => {
    await a.emit('a#1');
    await a.run('savepoint kept');
    await a.emit('a#2');
    await a.run('release savepoint kept');
    await a.run('savepoint dropped');
    await a.emit('a#3');
    await a.run('rollback to savepoint dropped');
    await a.emit('a#4');
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    await a.commit();
    expect(await reader.drain()).toEqual(['a#1', 'a#2', 'a#4']);
  });

  test('delivers a prepared transaction when it is committed, however long after its session ended', async () => {
    const id = `prepared-${crypto.randomUUID()}`;
    await a.emit('p#1');
    await a.run(`prepare transaction '${id}'`);
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    await a.close();
    a = await openWriter(database.pool);
    await commit('m#2');
    expect(await reader.read()).toEqual(['m#2']);
    await database.pool.query(`commit prepared '${id}'`);
    expect(await reader.drain()).toEqual(['p#1']);
  });

  test('finds an event whose transaction began long before it and wrote it long after', async () => {
    await a.touch();
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    await a.emit('a#1');
    await commit('m#2');
    expect(await reader.read()).toEqual(['m#2']);
    await a.commit();
    expect(await reader.drain()).toEqual(['a#1']);
  });
});

describe('paging through more late events than a batch holds', () => {
  test('pages through a late transaction of 5,000 events, and takes no new ones until it is done', async () => {
    await a.emit(...many('big', 1, 5_000));
    await commit('m#1');
    expect(await reader.read()).toEqual(['m#1']);
    await a.commit();
    await commit('n#1');
    const delivered: string[] = [];
    for (let page = 0; page < 50; page += 1) {
      const batch = await reader.read(100);
      expect(batch).toHaveLength(100);
      delivered.push(...batch);
    }
    expect(delivered).toEqual(many('big', 1, 5_000));
    expect(await reader.drain(100)).toEqual(['n#1']);
  });

  test('pages through one that was above xmax', async () => {
    for (let attempt = 1; ; attempt += 1) {
      const key = `big${attempt}`;
      await b.touch();
      await a.emit(...many(key, 1, 250));
      const late = await a.xid();
      await b.run(publish(`m#${attempt}`));
      expect(await reader.read(100)).toEqual([`m#${attempt}`]);
      const { xmax } = partsOf(reader.cursor.snapshot);
      await a.commit();
      expect(await reader.drain(100)).toEqual(many(key, 1, 250));
      if (late >= xmax) return;
      expect(attempt).toBeLessThan(MOST_ATTEMPTS);
    }
  });

  test('pages through several at once in the order of their positions', async () => {
    const expected: string[] = [];
    for (let n = 0; n < 40; n += 1) {
      for (const [name, writer] of [
        ['a', a],
        ['b', b],
        ['c', c],
      ] as const) {
        const labels = many(name, n * 10 + 1, n * 10 + 10);
        await writer.emit(...labels);
        expected.push(...labels);
      }
    }
    await commit('m#1');
    expect(await reader.read(100)).toEqual(['m#1']);
    await b.commit();
    await a.commit();
    await c.commit();
    expect(await reader.drain(100)).toEqual(expected);
  });

  test('delivers what commits during the paging afterwards, before new events of the same key', async () => {
    await a.emit(...many('big', 1, 30));
    await b.emit('k#1');
    await commit('m#1');
    expect(await reader.read(10)).toEqual(['m#1']);
    await a.commit();
    expect(await reader.read(10)).toEqual(many('big', 1, 10));
    expect(reader.cursor.frozen).not.toBeNull();
    // Late itself, below the page's position and above it, and not seen by the frozen snapshot.
    await b.commit();
    await commit('k#2');
    expect(await reader.drain(10)).toEqual([...many('big', 11, 30), 'k#1', 'k#2']);
  });

  test('carries on with a page from a cursor that was stored as text', async () => {
    await a.emit(...many('big', 1, 25));
    await commit('m#1');
    await reader.read(10);
    await a.commit();
    await reader.read(10);
    const restarted = logReader(database.pool, structuredClone(reader.cursor));
    expect(await restarted.drain(10)).toEqual(many('big', 11, 25));
  });

  test('ends with an exactly full last page and goes on to what follows', async () => {
    await a.emit(...many('big', 1, 20));
    await commit('m#1');
    await reader.read(10);
    await a.commit();
    await commit('n#1');
    expect(await reader.read(10)).toEqual(many('big', 1, 10));
    expect(await reader.read(10)).toEqual(many('big', 11, 20));
    expect(await reader.read(10)).toEqual(['n#1']);
    expect(await reader.read(10)).toEqual([]);
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
});

describe('limits and rest', () => {
  test('never returns more than the limit of each kind', async () => {
    await a.emit('a#1', 'a#2', 'a#3');
    await commit('m#1');
    expect(await reader.read(3)).toEqual(['m#1']);
    await commit('n#1', 'n#2', 'n#3', 'n#4');
    await a.commit();
    expect(await reader.read(3)).toEqual(['a#1', 'a#2', 'a#3', 'n#1', 'n#2', 'n#3']);
    expect(await reader.read(3)).toEqual(['n#4']);
  });

  test('moves nothing but the snapshot when there is nothing', async () => {
    await a.emit('a#1');
    await commit('m#1');
    expect(await reader.read(10)).toEqual(['m#1']);
    await commit();
    const before = reader.cursor;
    const { events, next } = await readBatch(database.pool, before, 10);
    expect(events).toEqual([]);
    expect(next).toEqual({ ...before, snapshot: next.snapshot });
    await a.commit();
    const { events: late } = await readBatch(database.pool, next, 10);
    expect(late).toHaveLength(1);
  });

  test('takes no transaction id for an empty look, and one for a batch', async () => {
    // Other databases of the server take ids too, so it is asked of the transaction itself.
    const client = await database.pool.connect();
    const taken = async (): Promise<boolean> => {
      await client.query('begin');
      const { rows } = await (async () => {
        await readBatch(client, reader.cursor, 10);
        return await client.query<{ taken: boolean }>(
          'select pg_current_xact_id_if_assigned() is not null as taken',
        );
      })();
      await client.query('rollback');
      return rows[0]!.taken;
    };
    try {
      expect(await taken()).toBe(false);
      await commit('m#1');
      expect(await taken()).toBe(true);
    } finally {
      client.release();
    }
  });

  test('gives payload, headers, key, topic and time as they were written', async () => {
    const payload = { text: 'ü "quoted" \\ \u{1F600}', list: [1, null, true], nested: { a: 0.5 } };
    await emitAll(
      database.pool,
      [
        { topic: 'item.upserted', key: 'item:1', payload, headers: { trace: 'abc' } },
        { topic: 'item.upserted', payload: null },
      ],
      { autocommit: true },
    );
    const { events, readAtMs } = await readBatch(database.pool, reader.cursor, 10);
    expect(events).toMatchObject([
      { topic: 'item.upserted', key: 'item:1', payload, headers: { trace: 'abc' } },
      { topic: 'item.upserted', key: null, payload: null, headers: {} },
    ]);
    const writtenMs = events[0]!.createdAt.getTime();
    const { rows } = await database.pool.query<{ at: Date }>(
      'select max(created_at) as at from outbox.event',
    );
    expect(Math.abs(writtenMs - rows[0]!.at.getTime())).toBeLessThan(5);
    expect(readAtMs).toBeGreaterThanOrEqual(writtenMs);
  });
});

describe('a group that starts at the end', () => {
  test('is given the events of transactions that were open, and nothing that was committed', async () => {
    await commit('old#1');
    await a.emit('a#1');
    await commit('old#2');
    const late = await readerAtTheEnd();
    await a.commit();
    await commit('new#1');
    expect(await late.drain()).toEqual(['a#1', 'new#1']);
  });
});

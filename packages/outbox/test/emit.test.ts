import { randomUUID } from 'node:crypto';
import { jobsMigrations } from '@pulsebox/jobs';
import { migrate, postgresMigrations, transaction } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { emit, emitAll } from '../src/log/emit.ts';
import type { NewEvent } from '../src/log/emit.ts';
import { outboxMigrations } from '../src/index.ts';
import { beginningOfLog } from '../src/read/cursor.ts';
import { readBatch } from '../src/read/read-batch.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

interface StoredEvent {
  readonly seq: string;
  readonly topic: string;
  readonly key: string | null;
  readonly payload: unknown;
  readonly headers: unknown;
}

async function stored(position: number | string): Promise<StoredEvent | undefined> {
  const { rows } = await database.pool.query<StoredEvent>(
    'select seq, topic, key, payload, headers from outbox.event where seq = $1',
    [position],
  );
  return rows[0];
}

async function withClient<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    return await work(client);
  } finally {
    if (client.getTransactionStatus() !== 'I') await client.query('rollback');
    await client.query('reset role');
    client.release();
  }
}

describe('emit joins the transaction of its client', () => {
  test('its event is there when the transaction commits, and not before', async () => {
    const position = await transaction(database.pool, async (client) => {
      const at = await emit(client, { topic: 'item.upserted', key: 'item:1', payload: { id: 1 } });
      expect(await stored(at)).toBeUndefined();
      return at;
    });
    expect(await stored(position)).toMatchObject({
      topic: 'item.upserted',
      key: 'item:1',
      payload: { id: 1 },
      headers: {},
    });
  });

  test('its event goes when the transaction is rolled back', async () => {
    const position = await withClient(async (client) => {
      await client.query('begin');
      const at = await emit(client, { topic: 'item.upserted', payload: 1 });
      await client.query('rollback');
      return at;
    });
    expect(await stored(position)).toBeUndefined();
  });

  test.each([
    ['a client outside a transaction', async (): Promise<number> => withClient(async (c) => emit(c, one))],
    ['a pool', async (): Promise<number> => emit(database.pool, one)],
    ['many events outside a transaction', async (): Promise<number[]> => emitAll(database.pool, [one, one])],
    ['no events outside a transaction', async (): Promise<number[]> => emitAll(database.pool, [])],
  ])('refuses %s', async (_, emitting) => {
    await expect(emitting()).rejects.toMatchObject({
      code: 'OUTBOX_NOT_IN_TRANSACTION',
      message: expect.stringMatching(/^expected a client with an open transaction.* got one without$/),
      hint: expect.stringContaining('autocommit: true'),
    });
  });

  test('refuses a client whose transaction has failed, or has ended', async () => {
    await withClient(async (client) => {
      await client.query('begin');
      await client.query('select 1 / 0').catch(() => undefined);
      await expect(emit(client, one)).rejects.toMatchObject({
        code: 'OUTBOX_NOT_IN_TRANSACTION',
        message: expect.stringContaining('has failed'),
      });
      await client.query('rollback');
      await expect(emit(client, one)).rejects.toMatchObject({ code: 'OUTBOX_NOT_IN_TRANSACTION' });
      await client.query('begin');
      await client.query('commit');
      await expect(emit(client, one)).rejects.toMatchObject({ code: 'OUTBOX_NOT_IN_TRANSACTION' });
    });
  });

  test('takes an event that stands alone when told so', async () => {
    const position = await emit(database.pool, one, { autocommit: true });
    expect(await stored(position)).toMatchObject({ topic: one.topic });
    expect(await emitAll(database.pool, [one, one], { autocommit: true })).toHaveLength(2);
  });
});

const one: NewEvent = { topic: 'item.upserted', payload: null };

describe('emitAll', () => {
  test('keeps the order given, in positions and on reading, for a thousand events', async () => {
    const events = Array.from({ length: 1_000 }, (_, n) => ({
      topic: 'item.upserted',
      key: `k${n % 7}`,
      payload: n,
    }));
    const before = (await emitAll(database.pool, [one], { autocommit: true }))[0]!;
    const positions = await transaction(database.pool, async (client) => emitAll(client, events));
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    const read = await readBatch(database.pool, { ...beginningOfLog, position: before }, 2_000);
    expect(read.events.map(({ position, key, payload }) => ({ position, key, payload }))).toEqual(
      events.map(({ key, payload }, n) => ({ position: positions[n], key, payload })),
    );
  });

  test('stores nothing when one of its events cannot be stored', async () => {
    const count = async (): Promise<unknown> =>
      (await database.pool.query('select count(*) from outbox.event')).rows;
    const before = await count();
    const bad = { topic: 'no spaces', payload: 1 };
    await expect(emitAll(database.pool, [one, bad], { autocommit: true })).rejects.toMatchObject({
      code: 'OUTBOX_EVENT_INVALID',
    });
    expect(await count()).toEqual(before);
  });
});

describe('what an event may hold', () => {
  test.each<[string, NewEvent]>([
    ['text that looks like an escape', { topic: 't', payload: 'a literal \\u0000 and \\ud800 in a text' }],
    [
      'quotes, backslashes, braces and line ends',
      { topic: 't', payload: { 'a"b\\c{},': ['"', '\\', '\n', 'NULL'] } },
    ],
    ['characters beyond the first plane', { topic: 't', key: 'ключ-\u{1F600}', payload: '\u{1F600}' }],
    ['null', { topic: 't', payload: null }],
    ['an empty key', { topic: 't', key: '', payload: false }],
    ['the longest topic and key', { topic: `t${'x'.repeat(199)}`, key: 'é'.repeat(500), payload: 0 }],
    ['headers', { topic: 'a.b_c:d-e', payload: [], headers: { trace: 'x', n: 1 } }],
  ])('%s', async (_, event) => {
    const [alone] = await emitAll(database.pool, [event], { autocommit: true });
    const single = await emit(database.pool, event, { autocommit: true });
    const expected = {
      topic: event.topic,
      key: event.key ?? null,
      payload: event.payload,
      headers: event.headers ?? {},
    };
    expect(await stored(alone!)).toMatchObject(expected);
    expect(await stored(single)).toMatchObject(expected);
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;

  test.each<[string, unknown, string]>([
    ['no event', undefined, 'expected an event such as { topic, payload }, got undefined'],
    ['no topic', { payload: 1 }, 'expected a topic such as "item.upserted", got undefined'],
    ['an empty topic', { topic: '', payload: 1 }, 'expected a topic such as "item.upserted", got ""'],
    [
      'a topic with a space',
      { topic: 'a b', payload: 1 },
      'expected a topic such as "item.upserted", got "a b"',
    ],
    [
      'a topic with a line end',
      { topic: 'a\n', payload: 1 },
      'expected a topic such as "item.upserted", got "a\\n"',
    ],
    ['a long topic', { topic: 't'.repeat(201), payload: 1 }, 'got a string of 201 bytes'],
    ['a number as key', { topic: 't', key: 42, payload: 1 }, 'got number'],
    ['a long key', { topic: 't', key: 'é'.repeat(501), payload: 1 }, 'got a string of 1002 bytes'],
    ['a zero byte in the key', { topic: 't', key: 'a\0b', payload: 1 }, 'got "a\\u0000b"'],
    ['half a surrogate pair in the key', { topic: 't', key: '\ud800', payload: 1 }, 'got "\\ud800"'],
    ['no payload', { topic: 't' }, 'expected a payload for t that JSON can hold, got undefined'],
    ['a function', { topic: 't', payload: (): void => undefined }, 'got function'],
    ['a bigint', { topic: 't', payload: 1n }, 'got bigint'],
    ['a cycle', { topic: 't', payload: cycle }, 'got an object'],
    ['a zero character', { topic: 't', payload: { a: ['x\0'] } }, 'got one with a zero character'],
    ['a zero character after a backslash', { topic: 't', payload: '\\\0' }, 'got one with a zero character'],
    ['half a surrogate pair', { topic: 't', payload: 'x\udc00' }, 'half of a surrogate pair'],
    [
      'a list as headers',
      { topic: 't', payload: 1, headers: [] },
      'expected headers that are an object, got an array',
    ],
    [
      'null as headers',
      { topic: 't', payload: 1, headers: null },
      'expected headers that are an object, got null',
    ],
    [
      'a zero character in a header',
      { topic: 't', payload: 1, headers: { a: '\0' } },
      'expected headers of whole',
    ],
  ])('refuses %s, and says what it expected', async (_, event, message) => {
    const emitting = emit(database.pool, event as NewEvent, { autocommit: true });
    await expect(emitting).rejects.toMatchObject({
      code: 'OUTBOX_EVENT_INVALID',
      message: expect.stringContaining(message),
      hint: expect.stringMatching(/\w/),
    });
  });
});

test('an event that is larger than a reader can read is refused, and nothing else is', async () => {
  const longest = 'x'.repeat(16 * 1_048_576 - 2);
  await expect(
    emit(database.pool, { topic: 't', payload: `${longest}x` }, { autocommit: true }),
  ).rejects.toMatchObject({
    code: 'OUTBOX_EVENT_INVALID',
    message: 'expected payload and headers of at most 16 MiB each, as PostgreSQL writes them, got more',
  });
  expect(await emit(database.pool, { topic: 't', payload: longest }, { autocommit: true })).toBeGreaterThan(
    0,
  );
});

describe('in SQL', () => {
  test('outbox.emit adds an event and returns its position, with key and headers as one likes', async () => {
    const { rows } = await database.pool.query<{ a: string; b: string; c: string }>(
      `select outbox.emit('a.b', '{"x": 1}') as a, outbox.emit('a.b', '2', 'k') as b,
              outbox.emit(topic => 'a.b', payload => '3', headers => '{"h": true}') as c`,
    );
    const { a, b, c } = rows[0]!;
    expect([await stored(a), await stored(b), await stored(c)]).toEqual([
      { seq: a, topic: 'a.b', key: null, payload: { x: 1 }, headers: {} },
      { seq: b, topic: 'a.b', key: 'k', payload: 2, headers: {} },
      { seq: c, topic: 'a.b', key: null, payload: 3, headers: { h: true } },
    ]);
  });

  test('a plain insert needs a topic and a payload', async () => {
    const { rows } = await database.pool.query<{ seq: string }>(
      `insert into outbox.event (topic, payload) values ('a.b', '1'), ('a.b', '2') returning seq`,
    );
    expect(Number(rows[1]!.seq)).toBe(Number(rows[0]!.seq) + 1);
  });

  test.each([
    [`select outbox.emit('a b', '1')`, 'event_topic_form'],
    [`select outbox.emit('-a', '1')`, 'event_topic_form'],
    [`select outbox.emit(repeat('x', 201), '1')`, 'event_topic_form'],
    [`select outbox.emit(null, '1')`, 'null value in column "topic"'],
    [`select outbox.emit('a', null)`, 'null value in column "payload"'],
    [`select outbox.emit('a', '1', repeat('x', 1001))`, 'event_key_length'],
    [`select outbox.emit('a', '1', null, '[]')`, 'event_headers_object'],
    [`select outbox.emit('a', to_jsonb(repeat('x', 17000000)))`, 'event_payload_size'],
    // 12 bytes each, and 131,072 digits as text: no reader could have read it.
    [`select outbox.emit('a', to_jsonb(array_fill(1e131071, '{150}')))`, 'event_payload_size'],
    [
      `select outbox.emit('a', '1', null, jsonb_build_object('h', array_fill(1e131071, '{150}')))`,
      'event_headers_size',
    ],
  ])('%s is refused', async (sql, message) => {
    await expect(database.pool.query(sql)).rejects.toThrow(message);
  });

  test('the size of an event is judged by functions of PostgreSQL, whatever a producer has put before them', async () => {
    await withClient(async (client) => {
      // Rolled back with the connection's return.
      await client.query('begin');
      await client.query(`
        create schema before;
        create function before.pg_column_size(jsonb) returns integer return 1;
        create function before.octet_length(text) returns integer return 1;
        create function before.never_more(integer, integer) returns boolean return true;
        create operator before.<= (function = before.never_more, leftarg = integer, rightarg = integer);
        set local search_path = before, pg_catalog`);
      await expect(
        client.query(`select outbox.emit('a', to_jsonb(array_fill(1e131071, '{150}')))`),
      ).rejects.toThrow('event_payload_size');
    });
  });

  test('an event takes its transaction id before its position: the rule for late events rests on it', async () => {
    const { rows } = await database.pool.query<{ column: string }>(
      `select attname as column from pg_attribute
       where attrelid = 'outbox.event'::regclass and attnum > 0 order by attnum limit 2`,
    );
    expect(rows.map((row) => row.column)).toEqual(['xid', 'seq']);
    const { rows: plan } = await database.pool.query<{ 'QUERY PLAN': string }>(
      `explain (verbose) insert into outbox.event (topic, key, payload, headers)
       select 't', null, '1'::jsonb, '{}'::jsonb from generate_series(1, 3) n order by n`,
    );
    const output = plan.map((row) => row['QUERY PLAN']).find((line) => line.includes('nextval'));
    expect(output).toMatch(/pg_current_xact_id\(\).*nextval/);
    const { rows: sequence } = await database.pool.query(
      `select seqcache::int as cache, seqincrement::int as step, seqcycle as cycles
       from pg_sequence where seqrelid = 'outbox.event_seq'::regclass`,
    );
    expect(sequence).toEqual([{ cache: 1, step: 1, cycles: false }]);
  });
});

const asEmitter = async (sql: string): Promise<unknown[]> =>
  withClient(async (client) => {
    await client.query('set role outbox_emitter');
    return (await client.query<Record<string, unknown>>(sql)).rows;
  });

describe('the role outbox_emitter', () => {
  test('may emit both ways, in TypeScript and in SQL', async () => {
    expect(await asEmitter(`select outbox.emit('a.b', '1', 'k') > 0 as emitted`)).toEqual([
      { emitted: true },
    ]);
    const inserted = await asEmitter(
      `insert into outbox.event (topic, key, payload, headers) values ('a.b', 'k', '1', '{}') returning seq > 0 as ok`,
    );
    expect(inserted).toEqual([{ ok: true }]);
    const positions = await withClient(async (client) => {
      await client.query('set role outbox_emitter');
      await client.query('begin');
      const found = [await emit(client, one), ...(await emitAll(client, [one, one]))];
      await client.query('commit');
      return found;
    });
    expect(positions).toHaveLength(3);
  });

  test('may emit while a reader sleeps, which makes it notify', async () => {
    await database.pool.query(`select setval('outbox.sleeping_until', 32503680000000)`);
    await asEmitter(`select outbox.emit('a.b', '1')`);
    await database.pool.query(`select setval('outbox.sleeping_until', 0)`);
    expect(await asEmitter(`select outbox.emit('a.b', '1') > 0 as emitted`)).toEqual([{ emitted: true }]);
  });

  test.each([
    `select payload from outbox.event`,
    `select * from outbox.event`,
    `select key from outbox.event`,
    `update outbox.event set payload = '1'`,
    `delete from outbox.event`,
    `truncate outbox.event`,
    `insert into outbox.event (xid, topic, payload) values ('1', 'a', '1')`,
    `insert into outbox.event (seq, topic, payload) values (1, 'a', '1')`,
    `insert into outbox.event (created_at, topic, payload) values (now(), 'a', '1')`,
    `select * from outbox.event_until_10000000`,
    `insert into outbox.event_until_10000000 (topic, payload) values ('a', '1')`,
    `select setval('outbox.event_seq', 1)`,
    `select setval('outbox.sleeping_until', 1)`,
    `select * from outbox.cursor`,
    `insert into outbox.consumer_group (name) values ('x')`,
    `update outbox.setting set notify_channel = 'x'`,
    `select * from pulsebox.lease`,
  ])('may not: %s', async (sql) => {
    await expect(asEmitter(sql)).rejects.toThrow(/permission denied/);
  });
});

test('a role that may only insert emits too, where nobody may call a function unless it is granted', async () => {
  const hardened = await createTestDatabase(inject('serverUrl'), { migrated: false });
  const role = `inserter_${randomUUID().slice(0, 8)}`;
  try {
    await hardened.pool.query('alter default privileges revoke execute on functions from public');
    await migrate({ connectionString: hardened.url }, [postgresMigrations, jobsMigrations, outboxMigrations]);
    await hardened.pool.query(`
      create role ${role};
      grant usage on schema outbox to ${role};
      grant insert (topic, key, payload, headers), select (seq) on outbox.event to ${role};
      grant usage on sequence outbox.event_seq to ${role};
      grant select on sequence outbox.sleeping_until to ${role};
      grant select on outbox.setting to ${role}`);
    await transaction(hardened.pool, async (client) => {
      await client.query(`set local role ${role}`);
      expect(await emit(client, { topic: 't', payload: 1 })).toBe(1);
      expect(await emitAll(client, [{ topic: 't', payload: 2 }])).toEqual([2]);
    });
    await hardened.pool.query(`drop owned by ${role}; drop role ${role}`);
  } finally {
    await hardened.drop();
  }
});

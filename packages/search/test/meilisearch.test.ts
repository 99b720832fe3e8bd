// Meilisearch in good and bad times: how often it is asked, and what becomes of its faults.

import { inspect } from 'node:util';
import { createTestDatabase, eventually, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { InjectedFault, MeilisearchStandIn, TestDatabase } from '@pulsebox/test-support';
import { SinkError } from '@pulsebox/outbox';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Search } from '@pulsebox/search';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { requestsOf } from '../src/meilisearch-engine.ts';
import { archiveItem, upserted, writeItems } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';
import type { SearchLane } from './search-lane.ts';

const API_KEY = 'a-key-that-nobody-may-see';
const TIMEOUT_MS = 3_000;
const DOCUMENTS = /\/documents$/;
const TASKS = /\/tasks\//;
const DELETIONS = /\/delete-batch$/;

let database: TestDatabase;
let lane: SearchLane;
let standIn: MeilisearchStandIn;
let search: Search;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  lane = await holdSearchLane(database.pool);
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  standIn = await startMeilisearchStandIn({ apiKey: API_KEY, payloadLimitBytes: 200_000 });
  search = searchOver({ url: standIn.url });
});
afterEach(async () => {
  await standIn.close();
});

function searchOver(options: { url: string; apiKey?: string; batchSize?: number }): Search {
  return createSearch({
    pool: database.pool,
    projections: shippedProjections(),
    meilisearch: { apiKey: API_KEY, timeoutMs: TIMEOUT_MS, ...options },
  });
}

async function deliverOne(): Promise<string[]> {
  const ids = await writeItems(database.pool, [{ name: 'one' }]);
  await lane.deliver(search.handler, upserted(ids));
  return ids;
}

async function failure(work: Promise<unknown>): Promise<SinkError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SinkError)) throw new Error('expected a SinkError', { cause: error });
  return error;
}

test('sends one request for upserts and one for deletes, whatever the number of events', async () => {
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 40 }, (_, n) => ({ name: `row ${n}` })),
  );
  for (const id of ids.slice(0, 10)) await archiveItem(database.pool, id);
  await lane.deliver(search.handler, upserted([...ids, ...ids, ...ids]));
  const [writes, deletions] = [standIn.requestsTo('POST', DOCUMENTS), standIn.requestsTo('POST', DELETIONS)];
  expect(writes.map(({ body }) => (body as unknown[]).length)).toEqual([30]);
  expect(deletions.map(({ body }) => (body as unknown[]).length)).toEqual([10]);
});

test('splits by the batch size', async () => {
  search = searchOver({ url: standIn.url, batchSize: 10 });
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 25 }, (_, n) => ({ name: `row ${n}` })),
  );
  await lane.deliver(search.handler, upserted(ids));
  expect(standIn.requestsTo('POST', DOCUMENTS).map(({ body }) => (body as unknown[]).length)).toEqual([
    10, 10, 5,
  ]);
});

test('applies settings before the first document, and once; a worker that finds them applied does not again', async () => {
  await deliverOne();
  await deliverOne();
  search = searchOver({ url: standIn.url });
  await deliverOne();
  expect(standIn.tasks.map(({ type }) => type)).toEqual([
    'indexCreation',
    'settingsUpdate',
    'documentAdditionOrUpdate',
    'documentAdditionOrUpdate',
    'documentAdditionOrUpdate',
  ]);
  expect(standIn.indexes.get('items')?.settings.searchableAttributes).toEqual([
    'name',
    'canonical_id',
    'text',
    'data',
  ]);
});

test('brings settings up to date when the declaration has changed', async () => {
  await deliverOne();
  const [items] = shippedProjections();
  const projections =
    items === undefined ? [] : [{ ...items, settings: { ...items.settings, searchable: ['text'] } }];
  search = createSearch({
    pool: database.pool,
    projections,
    meilisearch: { url: standIn.url, apiKey: API_KEY },
  });
  expect((await search.describe()).indexes[0]?.state).toBe('settings differ');
  await deliverOne();
  expect((await search.describe()).indexes[0]?.state).toBe('ready');
});

test('returns only when the task has succeeded, and reports progress while it waits', async () => {
  await deliverOne();
  standIn.pauseTasks();
  let returned = false;
  const delivering = (async () => {
    await deliverOne();
    returned = true;
  })();
  const before = lane.progressed();
  await eventually(() => lane.progressed() > before + 3);
  expect(returned).toBe(false);
  standIn.resumeTasks();
  await delivering;
  expect(standIn.indexes.get('items')?.documents.size).toBe(2);
});

test('ends the wait for a task when the batch is aborted', async () => {
  await deliverOne();
  standIn.pauseTasks();
  const controller = new AbortController();
  const ids = await writeItems(database.pool, [{ name: 'slow' }]);
  const before = lane.progressed();
  const delivering = lane.deliver(search.handler, upserted(ids), { signal: controller.signal });
  delivering.catch(() => undefined);
  await eventually(() => lane.progressed() > before + 1);
  controller.abort(new Error('drained'));
  await expect(delivering).rejects.toThrow('drained');
});

describe('a fault', () => {
  const invalidRequest = (code: string) => ({ code, type: 'invalid_request', message: code }) as const;
  const answered = (status: number, code: string, headers = {}): InjectedFault => ({
    kind: 'answer',
    status,
    headers,
    body: JSON.stringify({ code, message: code, type: 'invalid_request', link: '' }),
  });

  const table: readonly (readonly [string, InjectedFault, object])[] = [
    [
      'a task that fails over a document',
      { kind: 'failing task', error: invalidRequest('invalid_document_id') },
      { code: 'SEARCH_SINK_REJECTED', kind: 'rejected', sinkCode: 'invalid_document_id' },
    ],
    [
      'a task that fails for want of disk',
      { kind: 'failing task', error: { code: 'no_space_left_on_device', type: 'system', message: '' } },
      { code: 'SEARCH_SINK_AWAY', kind: 'away', sinkCode: 'no_space_left_on_device' },
    ],
    [
      'a task that fails inside',
      { kind: 'failing task', error: { code: 'internal', type: 'internal', message: '' } },
      { code: 'SEARCH_SINK_AWAY', kind: 'away' },
    ],
    ['a task that somebody cancels', { kind: 'cancelled task' }, { code: 'SEARCH_SINK_AWAY', kind: 'away' }],
    [
      'no answer',
      { kind: 'silence' },
      { code: 'SEARCH_SINK_AWAY', kind: 'away', message: expect.stringContaining('no answer in time') },
    ],
    [
      'a broken connection',
      { kind: 'reset' },
      { code: 'SEARCH_SINK_AWAY', kind: 'away', message: expect.stringContaining('no connection') },
    ],
    [
      'an overload that says how long',
      answered(429, 'too_many_requests', { 'retry-after': '7' }),
      { code: 'SEARCH_SINK_AWAY', kind: 'away', retryAfterMs: 7_000 },
    ],
    ['a server error', answered(500, 'internal'), { code: 'SEARCH_SINK_AWAY', kind: 'away' }],
    [
      'an error page of a proxy',
      { kind: 'answer', status: 502, body: '<html>bad gateway</html>' },
      { code: 'SEARCH_SINK_AWAY', kind: 'away' },
    ],
    [
      'JSON that is not Meilisearch’s own',
      { kind: 'answer', status: 500, body: '{"message":"upstream"}' },
      {
        code: 'SEARCH_SINK_AWAY',
        kind: 'away',
        message: expect.stringMatching(/: Meilisearch answered 500$/) as string,
      },
    ],
    [
      'an error without a body',
      { kind: 'answer', status: 503, body: '' },
      { code: 'SEARCH_SINK_AWAY', kind: 'away' },
    ],
    [
      'a payload that is too large alone',
      answered(413, 'payload_too_large'),
      { code: 'SEARCH_SINK_REJECTED', kind: 'rejected', sinkCode: 'payload_too_large' },
    ],
  ];

  const stranger = {
    code: 'SEARCH_SINK_AWAY',
    kind: 'away',
    message: expect.stringContaining('not Meilisearch'),
  };
  const strange: readonly (readonly [string, string, RegExp])[] = [
    ['null where a task should be', 'null', DOCUMENTS],
    ['an object where a task should be', '{"ok":true}', DOCUMENTS],
    ['a list where the state of a task should be', '[]', TASKS],
    ['a state that there is not', '{"status":"exploded"}', TASKS],
    ['a failure without a reason', '{"status":"failed"}', TASKS],
    ['a failure whose reason is none', '{"status":"failed","error":{"code":7}}', TASKS],
  ];

  test.each(strange)('%s is no fault of the documents', async (_, body, path) => {
    await deliverOne();
    const method = path === TASKS ? 'GET' : 'POST';
    standIn.inject({ method, path, fault: { kind: 'answer', status: 200, body } });
    const ids = await writeItems(database.pool, [{ name: 'two' }]);
    expect(await failure(lane.deliver(search.handler, upserted(ids)))).toMatchObject(stranger);
  });

  test('a megabyte of reasons is cut', async () => {
    await deliverOne();
    const error = { code: 'c', type: 'invalid_request', message: 'm'.repeat(1_000_000) } as const;
    standIn.inject({ method: 'POST', path: DOCUMENTS, fault: { kind: 'failing task', error } });
    expect((await failure(deliverOne())).message.length).toBeLessThan(1_200);
  });

  test.each(table)('%s fails the batch, and the next attempt repairs it', async (_, fault, expected) => {
    await deliverOne();
    standIn.inject({ method: 'POST', path: DOCUMENTS, fault });
    const ids = await writeItems(database.pool, [{ name: 'two' }]);
    const error = await failure(lane.deliver(search.handler, upserted(ids)));
    expect(error).toMatchObject(expected);
    expect(inspect(error, { depth: 10 })).not.toContain(API_KEY);
    await lane.deliver(search.handler, upserted(ids));
    expect(standIn.indexes.get('items')?.documents.get(ids[0] ?? '')).toMatchObject({ name: 'two' });
  });

  test('a key that is refused is named as that, and is no fault of the documents', async () => {
    search = searchOver({ url: standIn.url, apiKey: 'wrong' });
    const error = await failure(search.search('items', { query: 'x' }));
    expect(error).toMatchObject({ code: 'SEARCH_SINK_DENIED', kind: 'away', sinkCode: 'invalid_api_key' });
    expect(error.hint).toContain('MEILI_API_KEY');
    expect(error.message).not.toContain('wrong');
  });

  test('a server that is not there is away', async () => {
    await standIn.close();
    expect(await failure(deliverOne())).toMatchObject({ code: 'SEARCH_SINK_AWAY', kind: 'away' });
  });
});

test('splits documents by their bytes, whatever their number', () => {
  const document = (id: string, text: string) => ({ id, text });
  const [small, large, wide] = [
    document('s', 'x'),
    document('l', 'x'.repeat(60)),
    document('w', '€'.repeat(30)),
  ];
  expect(requestsOf([small, small, small], 110).map((part) => part.length)).toEqual([3]);
  expect(requestsOf([large, large, small], 110).map((part) => part.length)).toEqual([1, 2]);
  // Bytes, not characters; and one that is too large alone goes alone.
  expect(requestsOf([small, wide, small], 110).map((part) => part.length)).toEqual([1, 1, 1]);
  expect(requestsOf([], 100)).toEqual([]);
});

test('halves a payload that is too large until it fits', async () => {
  const text = 'x'.repeat(30_000);
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 20 }, (_, n) => ({ name: `row ${n}`, text })),
  );
  await lane.deliver(search.handler, upserted(ids));
  expect(standIn.indexes.get('items')?.documents.size).toBe(20);
});

test('a document that is small in the table and more than a hundred megabytes of text is reported, and others are written', async () => {
  const ids = await writeItems(database.pool, [{ name: 'before' }, { name: 'bomb' }, { name: 'after' }]);
  await database.pool.query(
    `update app.items set data = to_jsonb(array_fill(1e131071, '{800}')) where name = 'bomb' and item_id = any($1)`,
    [ids],
  );
  const outcome = await search.handler(
    {
      group: 'search',
      lane: 0,
      events: upserted(ids).map(({ topic, payload }, n) => ({
        position: n + 1,
        topic,
        payload,
        key: null,
        headers: {},
        createdAt: new Date(),
      })),
    },
    lane.context(),
  );
  expect(outcome).toMatchObject({
    failed: [{ position: 2, reason: expect.stringContaining('larger than 100 MB as text') as string }],
  });
  expect(standIn.indexes.get('items')?.documents.size).toBe(2);
});

test('makes an index that somebody deleted again, with its settings', async () => {
  const [id] = await deliverOne();
  (standIn.indexes as Map<string, unknown>).delete('items');
  await archiveItem(database.pool, id ?? '');
  await lane.deliver(search.handler, upserted([id ?? '']));
  expect(standIn.indexes.get('items')?.settings.filterableAttributes).toContain('organisation');
});

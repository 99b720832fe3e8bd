// Rebuilding an index while the application writes and the worker works.

import { emit } from '@pulsebox/outbox';
import { acquireLease, transaction } from '@pulsebox/postgres';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { ReindexProgress, ReindexStep, Search } from '@pulsebox/search';
import { createTestDatabase, eventually, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { MeilisearchStandIn, TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { archiveItem, upserted, writeItems } from './app-rows.ts';
import { runRelay } from './running-relay.ts';
import { holdSearchLane } from './search-lane.ts';

let database: TestDatabase;
let standIn: MeilisearchStandIn;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  standIn = await startMeilisearchStandIn();
});
afterEach(async () => {
  await standIn.close();
  await database.drop();
});

function searchOver(engine: 'postgres' | 'meilisearch'): Search {
  return createSearch({
    pool: database.pool,
    projections: shippedProjections(),
    meilisearch: engine === 'meilisearch' ? { url: standIn.url } : undefined,
  });
}

/** What the index has against what the table has: name by id. */
async function indexedNames(search: Search): Promise<Map<string, unknown>> {
  const names = new Map<string, unknown>();
  for (let offset = 0; ; offset += 1_000) {
    const { hits } = await search.search('items', { query: '', limit: 1_000, offset });
    for (const hit of hits) names.set(hit.id, hit.document['name']);
    if (hits.length < 1_000) return names;
  }
}

async function tableNames(): Promise<Map<string, unknown>> {
  const { rows } = await database.pool.query<{ item_id: string; name: string }>(
    'select item_id, name from app.items where archived_at is null',
  );
  return new Map(rows.map((row) => [row.item_id, row.name]));
}

/** Writes, renames, archives, deletes and rolls back, row and event in one transaction, until it is stopped. */
function writeSteadily(writer: number, stop: AbortSignal): Promise<void> {
  const ids: string[] = [];
  let n = 0;
  async function one(): Promise<void> {
    n += 1;
    await transaction(database.pool, async (client) => {
      const known = ids[Math.floor(Math.random() * ids.length)];
      let id = known;
      let topic = 'item.upserted';
      if (known === undefined || n % 3 === 0) {
        const { rows } = await client.query<{ item_id: string }>(
          `insert into app.items (org_id, canonical_id, name) values ('acme', $1, $2) returning item_id`,
          [`${writer}/${n}`, `made by ${writer} in ${n}`],
        );
        id = rows[0]?.item_id;
        if (id !== undefined) ids.push(id);
      } else if (n % 7 === 0) {
        await client.query('update app.items set archived_at = now() where item_id = $1', [known]);
        topic = 'item.archived';
      } else if (n % 11 === 0) {
        await client.query('delete from app.items where item_id = $1', [known]);
        topic = 'item.archived';
      } else {
        await client.query('update app.items set name = $2 where item_id = $1', [
          known,
          `named by ${writer} in ${n}`,
        ]);
      }
      await emit(client, { topic, key: `item:${id}`, payload: { item_id: id ?? '' } });
      if (n % 13 === 0) throw new RolledBack();
    }).catch((error: unknown) => {
      if (!(error instanceof RolledBack)) throw error;
    });
  }
  return (async () => {
    while (!stop.aborted) await one();
  })();
}

class RolledBack extends Error {}

async function writtenBySteadily<T>(work: () => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const writers = [1, 2, 3].map((writer) => writeSteadily(writer, stop.signal));
  try {
    return await work();
  } finally {
    stop.abort();
    await Promise.all(writers);
  }
}

describe.each(['postgres', 'meilisearch'] as const)('on the %s engine', (engine) => {
  test('loses nothing that is written meanwhile, and brings nothing back', async () => {
    const search = searchOver(engine);
    await writeItems(
      database.pool,
      Array.from({ length: 400 }, (_, n) => ({ name: `there before ${n}` })),
    );
    const relay = runRelay(database.pool, search.handler);
    const report = await writtenBySteadily(async () => {
      // The worker has its lane before the rebuild begins, so that it is asked to hand it over.
      await eventually(async () => (await search.search('items', { query: 'made' })).total > 20);
      const first = await search.reindex('items', { holder: 'reindex', batchSize: 25 });
      await search.reindex('items', { holder: 'reindex', batchSize: 100 });
      return first;
    });
    // What was there before never had an event: only the rebuild can have found it.
    expect(report.rows).toBeGreaterThanOrEqual(400);
    expect(report.events).toBeGreaterThan(0);
    expect(report.oldIndexDropped).toBe(true);
    const expected = await tableNames();
    await eventually(async () => {
      const actual = await indexedNames(search);
      return actual.size === expected.size && [...expected].every(([id, name]) => actual.get(id) === name);
    });
    await relay.stop();
    expect(relay.errors).toEqual([]);
  });

  test('leaves a lone index behind, whatever was left by rebuilds that were killed', async () => {
    const search = searchOver(engine);
    await writeItems(database.pool, [{ name: 'one' }]);
    const before = await search.reindex('items', { holder: 'test' });
    expect(before.rows).toBe(1);
    if (engine === 'postgres') {
      await database.pool.query(`
        with made as (
          insert into search.generation (index_name, searchable) values ('items', '{name}') returning generation
        )
        insert into search.document (generation, id, document, vector) select generation, 'x', '{}', '' from made`);
      await search.reindex('items', { holder: 'test' });
      const { rows } = await database.pool.query('select live from search.generation');
      expect(rows).toEqual([{ live: true }]);
      const { rows: documents } = await database.pool.query('select id from search.document');
      expect(documents).toHaveLength(1);
    } else {
      (standIn.indexes as Map<string, unknown>).set('items-rebuild-7', standIn.indexes.get('items'));
      (standIn.indexes as Map<string, unknown>).set('items-rebuild-of-mine', standIn.indexes.get('items'));
      await search.reindex('items', { holder: 'test' });
      expect([...standIn.indexes.keys()].toSorted()).toEqual(['items', 'items-rebuild-of-mine']);
    }
  });

  test('leaves the live index as it was when it fails, and gives the lane back', async () => {
    const search = searchOver(engine);
    const lane = await holdSearchLane(database.pool);
    const ids = await writeItems(database.pool, [{ name: 'live' }]);
    await lane.deliver(search.handler, upserted(ids));
    await lane.release();
    await database.pool.query(`update app.items set name = 'not indexed'`);
    const controller = new AbortController();
    const onProgress = ({ step }: ReindexProgress): void => {
      if (step === 'swapping') controller.abort(new Error('stopped by hand'));
    };
    await expect(
      search.reindex('items', { holder: 'test', onProgress, signal: controller.signal }),
    ).rejects.toThrow('stopped by hand');
    expect([...(await indexedNames(search)).values()]).toEqual(['live']);
    expect(
      await acquireLease(database.pool, { name: 'outbox/search/0', holder: 'x', ttlMs: 1 }),
    ).toMatchObject({
      acquired: true,
    });
    if (engine === 'postgres') {
      expect((await database.pool.query('select from search.generation')).rowCount).toBe(1);
    } else {
      expect([...standIn.indexes.keys()]).toEqual(['items']);
    }
  });

  test('delivers an event that commits after the swap although it was written before', async () => {
    const search = searchOver(engine);
    const [id] = await writeItems(database.pool, [{ name: 'old name' }]);
    const client = await database.pool.connect();
    await client.query('begin');
    await client.query(`update app.items set name = 'late name' where item_id = $1`, [id]);
    await emit(client, { topic: 'item.upserted', payload: { item_id: id ?? '' } });
    await search.reindex('items', { holder: 'test' });
    await client.query('commit');
    client.release();
    const relay = runRelay(database.pool, search.handler);
    await eventually(async () => (await indexedNames(search)).get(id ?? '') === 'late name');
    await relay.stop();
  });
});

test('says how far it is, step by step', async () => {
  const search = searchOver('postgres');
  await writeItems(
    database.pool,
    Array.from({ length: 25 }, (_, n) => ({ name: `row ${n}` })),
  );
  const steps: ReindexStep[] = [];
  const rows: number[] = [];
  await search.reindex('items', {
    holder: 'test',
    batchSize: 10,
    onProgress: (progress) => {
      steps.push(progress.step);
      rows.push(progress.rows);
    },
  });
  expect(steps).toEqual([
    'filling',
    'filling',
    'filling',
    'waiting for the lane',
    'swapping',
    'dropping',
    'done',
  ]);
  expect(rows).toEqual([10, 20, 25, 25, 25, 25, 25]);
});

test('refuses a second rebuild of a projection while one is at work, and names who does it', async () => {
  const search = searchOver('postgres');
  await acquireLease(database.pool, { name: 'search/reindex/items', holder: 'somebody/else', ttlMs: 60_000 });
  await expect(search.reindex('items', { holder: 'test' })).rejects.toMatchObject({
    code: 'SEARCH_REINDEX_RUNNING',
    message: expect.stringContaining('somebody/else'),
  });
  expect((await search.reindex('files', { holder: 'test' })).rows).toBe(0);
});

test('gives up when nobody hands the lane over, with the live index as it was', async () => {
  const search = searchOver('postgres');
  const lane = await holdSearchLane(database.pool);
  const ids = await writeItems(database.pool, [{ name: 'live' }]);
  await lane.deliver(search.handler, upserted(ids));
  await archiveItem(database.pool, ids[0] ?? '');
  await expect(search.reindex('items', { holder: 'test', handoverTimeoutMs: 100 })).rejects.toMatchObject({
    code: 'SEARCH_REINDEX_LANE_BUSY',
  });
  expect([...(await indexedNames(search)).values()]).toEqual(['live']);
});

test('leaves out a row whose id no sink can store, and counts it', async () => {
  await database.pool.query(`
    create table public.pages (path text primary key);
    create view public.page_documents as
      select path as id, null::text as organisation, jsonb_build_object('path', path) as document, false as deleted
      from public.pages`);
  await database.pool.query(
    `insert into public.pages values ('/a/ü b'), ('b64-x'), (repeat('x', 500)), ('')`,
  );
  for (const engine of ['postgres', 'meilisearch'] as const) {
    const search = createSearch({
      pool: database.pool,
      projections: [
        {
          name: 'pages',
          index: 'pages',
          view: 'public.page_documents',
          topics: ['page.saved'],
          idPath: 'path',
          settings: { searchable: ['path'], filterable: [], sortable: [] },
        },
      ],
      meilisearch: engine === 'meilisearch' ? { url: standIn.url } : undefined,
    });
    expect(await search.reindex('pages', { holder: 'test', batchSize: 2 })).toMatchObject({
      rows: 2,
      skippedRows: 2,
    });
    const { hits } = await search.search('pages', { query: '' });
    expect(hits.map((hit) => hit.id).toSorted()).toEqual(['/a/ü b', 'b64-x']);
    expect(hits.map((hit) => hit.organisation)).toEqual([null, null]);
  }
});

// What only full-text search has to take care of by itself.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Projection, Search } from '@pulsebox/search';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { upserted, writeItems } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';
import type { SearchLane } from './search-lane.ts';

let database: TestDatabase;
let lane: SearchLane;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  lane = await holdSearchLane(database.pool);
});
afterAll(async () => {
  await database.drop();
});

function searchOver(index: string, searchable: readonly string[]): Search {
  const [items] = shippedProjections({ itemsIndex: index });
  const projections: Projection[] =
    items === undefined ? [] : [{ ...items, settings: { ...items.settings, searchable } }];
  return createSearch({ pool: database.pool, projections });
}

test('makes its vectors anew when the searchable attributes have changed', async () => {
  const before = searchOver('changing', ['name']);
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 2_500 }, (_, n) => ({ name: `name ${n}`, text: 'hidden' })),
  );
  await lane.deliver(before.handler, upserted(ids));
  expect((await before.search('items', { query: 'hidden' })).total).toBe(0);

  const after = searchOver('changing', ['name', 'text']);
  expect((await after.describe()).indexes[0]?.state).toBe('settings differ');
  await lane.deliver(after.handler, upserted(ids.slice(0, 1)));
  expect((await after.search('items', { query: 'hidden' })).total).toBe(2_500);
  expect((await after.describe()).indexes[0]).toMatchObject({ state: 'ready', documents: 2_500 });
});

test('finds words as people write them, in any script', async () => {
  const search = searchOver('scripts', ['name']);
  const names = [
    'Straße',
    'Ærøskøbing',
    'Łódź',
    'МОСКВА',
    'Αθήνα',
    '東京',
    'x-1/y.2',
    'mail@example.org',
    'ｆｕｌｌ',
    'I/O',
  ];
  const ids = await writeItems(
    database.pool,
    names.map((name) => ({ name })),
  );
  await lane.deliver(search.handler, upserted(ids));
  const queries = {
    strasse: 'Straße',
    aeroskobing: 'Ærøskøbing',
    lodz: 'Łódź',
    москв: 'МОСКВА',
    αθηνα: 'Αθήνα',
    東: '東京',
    y: 'x-1/y.2',
    'x-1': 'x-1/y.2',
    'example.org': 'mail@example.org',
    full: 'ｆｕｌｌ',
    'i/o': 'I/O',
  };
  for (const [query, name] of Object.entries(queries)) {
    const { hits } = await search.search('items', { query });
    expect(
      hits.map((hit) => hit.document['name']),
      query,
    ).toEqual([name]);
  }
});

test('every run of letters and digits of a text in ASCII is a word that is found', async () => {
  const text = fc.string({
    unit: fc.constantFrom(...Array.from(`abXY019 .,-_/@:<>&;"'+#~%=?\\\n\t`)),
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(text, async (given) => {
      const { rows } = await database.pool.query<{ words: string[] }>(
        `select tsvector_to_array(search.to_vector(jsonb_build_object('t', $1::text), '{t}')) as words`,
        [given],
      );
      const expected = new Set(given.toLowerCase().match(/[a-z0-9]+/g));
      expect(new Set(rows[0]?.words)).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

test('finds what is called so before what begins so, and that before what has the words somewhere', async () => {
  const search = searchOver('names', ['name', 'text']);
  const rows = [
    { name: 'East New York', text: '' },
    { name: 'New York City', text: 'a long text '.repeat(50) },
    { name: 'New  YORK', text: 'another long text '.repeat(50) },
    { name: 'New Yorkshire', text: '' },
    { name: 'Elsewhere', text: 'new york new york new york' },
  ];
  const ids = await writeItems(database.pool, rows);
  await lane.deliver(search.handler, upserted(ids));
  const found = async (query: string): Promise<unknown[]> =>
    (await search.search('items', { query })).hits.map((hit) => hit.document['name']);
  expect((await found('new york')).slice(0, 2)).toEqual(['New  YORK', 'New York City']);
  expect((await found('"new york" -somewhere')).slice(0, 2)).toEqual(['New  YORK', 'New York City']);
  expect((await found('new yor')).at(0)).toMatch(/^New/);
  expect(await found('')).toHaveLength(5);
});

test('takes an organisation of any length', async () => {
  // Too long for an index, and the same at the beginning.
  await database.pool.query(`
    create view public.long_organisations as
      select item_id as id, archived_at is not null as deleted, jsonb_build_object('name', name) as document,
             (select string_agg(md5(n::text), '') from generate_series(1, 400) n) || org_id as organisation
      from app.items where org_id in ('one', 'two')`);
  const [items] = shippedProjections({ itemsIndex: 'organisations' });
  if (items === undefined) throw new Error('no projection');
  const search = createSearch({
    pool: database.pool,
    projections: [{ ...items, view: 'public.long_organisations' }],
  });
  const ids = await writeItems(database.pool, [
    { name: 'first', organisation: 'one' },
    { name: 'second', organisation: 'two' },
  ]);
  await lane.deliver(search.handler, upserted(ids));
  const { hits } = await search.search('items', { query: '' });
  expect(hits).toHaveLength(2);
  for (const { organisation, document } of hits) {
    const alone = await search.search('items', { query: '', organisation: organisation ?? '' });
    expect(alone.hits.map((hit) => hit.document)).toEqual([document]);
  }
});

test('survives the index being removed by hand', async () => {
  const search = searchOver('removed', ['name']);
  const ids = await writeItems(database.pool, [{ name: 'one' }]);
  await lane.deliver(search.handler, upserted(ids));
  await database.pool.query(`delete from search.generation where index_name = 'removed'`);
  await lane.deliver(search.handler, upserted(ids));
  expect((await search.search('items', { query: 'one' })).total).toBe(1);
});

test('counts what it does', async () => {
  const registry = new Registry();
  const search = createSearch({ pool: database.pool, projections: shippedProjections(), registry });
  const [one = '', two = ''] = await writeItems(database.pool, [{ name: 'one' }, { name: 'two' }]);
  await lane.deliver(search.handler, upserted([one, two, one]));
  await database.pool.query('delete from app.items where item_id = $1', [two]);
  await lane.deliver(search.handler, [...upserted([two]), { topic: 'file.upserted', payload: {} }]);
  await search.search('items', { query: 'one' });
  const text = await registry.metrics();
  expect(text).toContain('search_documents_total{projection="items",operation="upserted"} 2');
  expect(text).toContain('search_documents_total{projection="items",operation="deleted"} 1');
  expect(text).toContain('search_events_skipped_total{reason="missing_id"} 1');
  expect(text).toContain('search_request_duration_seconds_count{engine="postgres",operation="sync"} 2');
  expect(text).toContain('search_request_duration_seconds_count{engine="postgres",operation="search"} 1');
});

// What both engines promise, tested on both: PostgreSQL itself, and the real client of Meilisearch on the stand-in.

import { createTestDatabase, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { MeilisearchStandIn, TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Search, SearchQuery } from '@pulsebox/search';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { archiveItem, archived, upserted, writeItems } from './app-rows.ts';
import type { GivenItem } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';
import type { SearchLane } from './search-lane.ts';

describe.each(['postgres', 'meilisearch'] as const)('the %s engine', (engine) => {
  let database: TestDatabase;
  let standIn: MeilisearchStandIn;
  let lane: SearchLane;
  let search: Search;

  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'));
    standIn = await startMeilisearchStandIn({ apiKey: 'test-key' });
    lane = await holdSearchLane(database.pool);
  });
  afterAll(async () => {
    await standIn.close();
    await database.drop();
  });
  let made = 0;
  beforeEach(() => {
    made += 1;
    search = createSearch({
      pool: database.pool,
      projections: shippedProjections({ itemsIndex: `items-${made}`, filesIndex: `files-${made}` }),
      meilisearch: engine === 'meilisearch' ? { url: standIn.url, apiKey: 'test-key' } : undefined,
    });
  });

  async function indexed(items: readonly GivenItem[]): Promise<string[]> {
    const ids = await writeItems(database.pool, items);
    await lane.deliver(search.handler, upserted(ids));
    return ids;
  }

  async function namesFound(query: string, rest: Omit<SearchQuery, 'query'> = {}): Promise<string[]> {
    const { hits } = await search.search('items', { query, ...rest });
    return hits.map((hit) => hit.document['name'] as string);
  }

  test('finds a document by a word of any searchable attribute, the end of an unfinished last word, case and accents aside', async () => {
    await indexed([
      {
        name: 'Zürich Hauptbahnhof',
        text: 'A big station',
        data: { tags: ['rail'], place: { land: 'Schweiz' } },
      },
    ]);
    for (const query of [
      'zurich',
      'ZÜRICH',
      'züri',
      'haupt',
      'station big',
      'rail',
      'schweiz',
      'zurich sta',
    ]) {
      expect(await namesFound(query), query).toEqual(['Zürich Hauptbahnhof']);
    }
    for (const query of ['bahnhof', 'zur big', 'zurich harbour'])
      expect(await namesFound(query), query).toEqual([]);
  });

  test('yields the document as its view has it, with its id and its organisation', async () => {
    const [id] = await indexed([
      { name: 'Lamp', organisation: 'acme', canonicalId: 'shape-1', data: { watts: 40 } },
    ]);
    const { hits, total } = await search.search('items', { query: 'lamp' });
    expect(total).toBe(1);
    expect(hits).toEqual([
      {
        id,
        organisation: 'acme',
        document: expect.objectContaining({
          name: 'Lamp',
          canonical_id: 'shape-1',
          text: '',
          data: { watts: 40 },
        }),
      },
    ]);
    expect(Object.keys(hits[0]?.document ?? {})).not.toEqual(expect.arrayContaining(['organisation_key']));
  });

  test('ranks a match in the name before one in the text, and a whole word before a beginning', async () => {
    await indexed([
      { name: 'Orchard', text: 'apple' },
      { name: 'Applesauce', text: '' },
      { name: 'Apple', text: '' },
    ]);
    const names = await namesFound('apple');
    expect(names[0]).toBe('Apple');
    expect(names.toSorted()).toEqual(['Apple', 'Applesauce', 'Orchard']);
    await indexed([
      { name: 'Pear', text: 'nothing' },
      { name: 'Basket', text: 'pear' },
    ]);
    expect(await namesFound('pear ')).toEqual(['Pear', 'Basket']);
  });

  test('takes phrases in quotes and words that must not be there', async () => {
    await indexed([{ name: 'new york city' }, { name: 'york new town' }]);
    expect(await namesFound('"new york"')).toEqual(['new york city']);
    expect(await namesFound('york -city')).toEqual(['york new town']);
    expect((await namesFound('york new')).length).toBe(2);
  });

  test('keeps organisations apart, also those whose names differ in case or have signs in them', async () => {
    await indexed([
      { name: 'plan', organisation: 'acme' },
      { name: 'plan', organisation: 'Acme' },
      { name: 'plan', organisation: `o"rg\\ or organisation = x` },
    ]);
    for (const organisation of ['acme', 'Acme', `o"rg\\ or organisation = x`]) {
      const { hits } = await search.search('items', { query: 'plan', organisation });
      expect(hits.map((hit) => hit.organisation)).toEqual([organisation]);
    }
    expect(await namesFound('plan', { organisation: 'other" or organisation_key = "acme' })).toEqual([]);
    expect((await search.search('items', { query: 'plan' })).total).toBe(3);
  });

  test('narrows by a filterable attribute, and refuses one that was not declared so', async () => {
    await indexed([
      { name: 'chair', canonicalId: 'c"1' },
      { name: 'chair', canonicalId: 'c2' },
    ]);
    const { hits } = await search.search('items', { query: 'chair', filter: { canonical_id: 'c"1' } });
    expect(hits.map((hit) => hit.document['canonical_id'])).toEqual(['c"1']);
    await expect(namesFound('chair', { filter: { text: 'x' } })).rejects.toMatchObject({
      code: 'SEARCH_QUERY_INVALID',
    });
  });

  test('sorts by a sortable attribute, either way, and refuses one that was not declared so', async () => {
    await indexed([{ name: 'b row' }, { name: 'c row' }, { name: 'a row' }]);
    expect(await namesFound('row', { sort: { attribute: 'name', direction: 'asc' } })).toEqual([
      'a row',
      'b row',
      'c row',
    ]);
    expect(await namesFound('row', { sort: { attribute: 'name', direction: 'desc' } })).toEqual([
      'c row',
      'b row',
      'a row',
    ]);
    await expect(namesFound('row', { sort: { attribute: 'text', direction: 'asc' } })).rejects.toMatchObject({
      code: 'SEARCH_QUERY_INVALID',
    });
  });

  test('pages through results in a stable order, and says how many there are', async () => {
    await indexed(Array.from({ length: 25 }, () => ({ name: 'same page' })));
    const whole = await search.search('items', { query: 'page', limit: 100 });
    const pages = await Promise.all(
      [0, 10, 20].map((offset) => search.search('items', { query: 'page', limit: 10, offset })),
    );
    expect(pages.map((page) => page.hits.length)).toEqual([10, 10, 5]);
    expect(pages.flatMap((page) => page.hits.map((hit) => hit.id))).toEqual(whole.hits.map((hit) => hit.id));
    expect(pages.map((page) => page.total)).toEqual([25, 25, 25]);
    expect(await search.search('items', { query: 'page', offset: 500 })).toEqual({ hits: [], total: 25 });
    await expect(namesFound('page', { limit: 0 })).rejects.toMatchObject({ code: 'SEARCH_QUERY_INVALID' });
    await expect(namesFound('page', { offset: -1 })).rejects.toMatchObject({ code: 'SEARCH_QUERY_INVALID' });
  });

  test('lists every document for a query without words', async () => {
    await indexed([{ name: 'one' }, { name: 'two' }]);
    for (const query of ['', '   ', '!!!', '""', '-', '"', '&|:*']) {
      expect((await search.search('items', { query })).total, query).toBe(2);
    }
  });

  test('answers whatever somebody types', async () => {
    await indexed([{ name: `it's a "test" & more: \\ * (x) <-> y` }]);
    expect(await namesFound(`it's`)).toHaveLength(1);
    const rubbish = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.string({ unit: fc.constantFrom(...Array.from(`'"\\&|!():*<->-% \t\n\0éß😀a1.@/`)), maxLength: 40 }),
      fc.constantFrom(
        'x'.repeat(5_000),
        '"'.repeat(999),
        'a '.repeat(600),
        'http://a.b/c?d=e',
        '\ud800',
        ':*',
        "a':*",
        '1e5',
        '-1.5',
      ),
    );
    await fc.assert(
      fc.asyncProperty(rubbish, async (query) => {
        const { total } = await search.search('items', { query });
        expect(total).toBeLessThanOrEqual(1);
      }),
      { numRuns: engine === 'postgres' ? 300 : 60 },
    );
  });

  test('writes one entry per row, as the row is when it is sent, and deletes archived and missing ones', async () => {
    const [kept, gone, removed] = await indexed([{ name: 'kept 1' }, { name: 'gone' }, { name: 'removed' }]);
    await database.pool.query(`update app.items set name = 'kept 2' where item_id = $1`, [kept]);
    await archiveItem(database.pool, gone ?? '');
    await database.pool.query('delete from app.items where item_id = $1', [removed]);
    const ids = [kept ?? '', gone ?? '', removed ?? ''];
    await lane.deliver(search.handler, [...upserted(ids), ...upserted(ids), ...archived([gone ?? ''])]);
    expect(await namesFound('')).toEqual(['kept 2']);
    // Delivered again, and late: what is archived stays away.
    await lane.deliver(search.handler, upserted(ids));
    expect(await namesFound('')).toEqual(['kept 2']);
  });

  test('leaves the index as it is when the batch is aborted before it is sent', async () => {
    await indexed([{ name: 'before' }]);
    const ids = await writeItems(database.pool, [{ name: 'aborted' }]);
    const signal = AbortSignal.abort(new Error('the lease is lost'));
    await expect(lane.deliver(search.handler, upserted(ids), { signal })).rejects.toThrow(
      'the lease is lost',
    );
    expect(await namesFound('')).toEqual(['before']);
  });

  test('passes over topics that no projection names, and over events that name no row', async () => {
    await indexed([{ name: 'one' }]);
    const logged = lane.logged.length;
    const [two] = await writeItems(database.pool, [{ name: 'two' }]);
    await lane.deliver(search.handler, [
      { topic: 'order.placed', payload: { item_id: 'x' } },
      { topic: 'item.upserted', payload: { id: two ?? '' } },
      { topic: 'item.upserted', payload: { item_id: 'not-a-uuid' } },
      { topic: 'item.upserted', payload: null },
      { topic: 'item.upserted', payload: { item_id: two?.toUpperCase() ?? '' } },
    ]);
    expect((await namesFound('')).toSorted()).toEqual(['one', 'two']);
    expect(lane.logged.slice(logged).map(({ level, topic, reason }) => ({ level, topic, reason }))).toEqual([
      { level: 'warn', topic: 'item.upserted', reason: 'missing_id' },
      { level: 'warn', topic: 'item.upserted', reason: 'invalid_id' },
      { level: 'warn', topic: 'item.upserted', reason: 'missing_id' },
    ]);
  });

  test('describes its indexes', async () => {
    expect((await search.describe()).indexes[0]).toMatchObject({
      projection: 'items',
      state: 'missing',
      documents: 0,
    });
    await indexed([{ name: 'one' }]);
    const { engine: name, version, indexes } = await search.describe();
    expect(name).toBe(engine);
    expect(version).toMatch(/^\d+\./);
    expect(indexes[0]).toEqual({ projection: 'items', index: `items-${made}`, state: 'ready', documents: 1 });
  });

  test('searches an index that is not there yet as an empty one', async () => {
    expect(await search.search('items', { query: 'x' })).toEqual({ hits: [], total: 0 });
    await expect(search.search('nothing', { query: 'x' })).rejects.toMatchObject({
      code: 'SEARCH_PROJECTION_UNKNOWN',
    });
  });

  test('indexes documents that are too many bytes for one statement or one request', async () => {
    const names = Array.from({ length: 5 }, (_, n) => `heavy ${n}`);
    await indexed(names.map((name) => ({ name, text: 'x'.repeat(engine === 'postgres' ? 6e6 : 15e6) })));
    expect((await namesFound('heavy')).toSorted()).toEqual(names);
  });

  test('indexes a text that is far too long by its beginning', async () => {
    const long = Array.from({ length: 120_000 }, (_, n) => `word${n}`).join(' ');
    await indexed([{ name: 'long', text: `${'y'.repeat(3_000)} ${long}` }]);
    expect(await namesFound('word7')).toEqual(['long']);
  });
});

// The plans of what is asked often, on a table that is large enough to show them.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { shippedProjections, verifyProjections } from '@pulsebox/search';
import { acquireLease } from '@pulsebox/postgres';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { syncDocuments } from '../src/postgres-engine.ts';
import { SEARCH_DOCUMENTS } from '../src/postgres-search.ts';
import { selectRows } from '../src/view.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  // Words of five letters, some of them frequent and many rare, as in texts of people.
  await database.pool.query(`
    insert into app.items (org_id, canonical_id, name, text)
      select 'org ' || n % 100, 'item-' || n, 'common ' || n,
             (select string_agg(left(md5((random() * random() * 20000)::int::text), 5), ' ') from generate_series(1, 10 + n * 0))
      from generate_series(1, 20000) n;
    insert into search.generation (index_name, live, searchable) values ('items', true, '{name,text}');
    insert into search.document (generation, id, organisation, document, vector)
      select g.generation, v.id, v.organisation, v.document, search.to_vector(v.document, '{name,text}')
      from search.item_documents v, search.generation g;
    analyze app.items; analyze search.document; analyze search.generation`);
});
afterAll(async () => {
  await database.drop();
});

async function planOf(sql: string, parameters: readonly unknown[]): Promise<string> {
  const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${sql}`, [
    ...parameters,
  ]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

function searchParameters(terms: readonly string[], organisation: string | null): unknown[] {
  return [
    'items',
    terms,
    terms.map(() => false),
    true,
    organisation,
    null,
    null,
    false,
    20,
    0,
    ['name'],
    terms.join(' '),
  ];
}

test('a search for a rare word meets only the documents that have it', async () => {
  const plan = await planOf(SEARCH_DOCUMENTS, searchParameters(['common', '19777'], null));
  expect(plan).toContain('Bitmap Index Scan on document_vector');
  expect(plan).not.toContain('Seq Scan on document');
});

test('a search for a common word within one organisation is narrowed by the organisation', async () => {
  const plan = await planOf(SEARCH_DOCUMENTS, searchParameters(['common'], 'org 7'));
  expect(plan).toMatch(/Index Scan (using|on) document_organisation/);
  expect(plan).not.toContain('Seq Scan on document');
});

test('the rows of a batch are found by the key of the table under the view', async () => {
  const [items] = await verifyProjections(database.pool, shippedProjections());
  if (items === undefined) throw new Error('no projection');
  const { rows } = await database.pool.query<{ id: string }>('select item_id as id from app.items limit 500');
  const ids = rows.map(({ id }) => id);
  expect(await planOf(selectRows(items), [ids])).toMatch(/Index Scan (using|on) items_pkey/);

  const lease = await acquireLease(database.pool, { name: 'outbox/search/0', holder: 'test', ttlMs: 60_000 });
  if (!lease.acquired) throw new Error('held');
  const plan = await planOf(syncDocuments(items), [
    ids,
    'outbox/search/0',
    lease.token,
    'items',
    null,
    2 ** 24,
  ]);
  expect(plan).toMatch(/Index Scan (using|on) items_pkey/);
  expect(plan).toMatch(/Index Scan (using|on) document_(pkey|organisation)/);
  expect(plan).not.toMatch(/Seq Scan on (items|document)/);
});

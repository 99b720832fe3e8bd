// Writers that were replaced and do not know it yet, on full-text search.

import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Search } from '@pulsebox/search';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { archiveItem, upserted, writeItems } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';

let database: TestDatabase;
let search: Search;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  search = createSearch({ pool: database.pool, projections: shippedProjections() });
});
afterAll(async () => {
  await database.drop();
});

async function found(): Promise<unknown[]> {
  return (await search.search('items', { query: '' })).hits.map((hit) => hit.document['name']);
}

test('a worker whose lease another took over writes nothing, and says so', async () => {
  const first = await holdSearchLane(database.pool);
  await first.release();
  const second = await holdSearchLane(database.pool);
  const [id] = await writeItems(database.pool, [{ name: 'one' }]);
  await expect(
    second.deliver(search.handler, upserted([id ?? '']), { token: first.token }),
  ).rejects.toMatchObject({
    code: 'SEARCH_FENCED',
  });
  expect(await found()).toEqual([]);
  await second.release();
});

test('a write that waits while its lease changes hands brings nothing back', async () => {
  const zombie = await holdSearchLane(database.pool);
  const [id] = await writeItems(database.pool, [{ name: 'archived soon' }]);
  await zombie.deliver(search.handler, upserted([id ?? '']));

  // Somebody holds the lease's row: the zombie's statement has its snapshot, in which the item is alive, and waits.
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query(`update pulsebox.lease set token = token + 1 where name = 'outbox/search/0'`);
  const delayed = zombie.deliver(search.handler, upserted([id ?? '']));
  delayed.catch(() => undefined);
  await eventually(async () => {
    const { rows } = await database.pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
  await archiveItem(database.pool, id ?? '');
  await database.pool.query(`delete from search.document where id = $1`, [id]);
  await client.query('commit');
  client.release();

  await expect(delayed).rejects.toMatchObject({ code: 'SEARCH_FENCED' });
  expect(await found()).toEqual([]);
});

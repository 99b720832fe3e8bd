// Mail ships as a projection beside items, and both hear of item.upserted and item.archived.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import type { Search } from '@pulsebox/search';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { upserted, writeItems } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';
import type { SearchLane } from './search-lane.ts';

let database: TestDatabase;
let lane: SearchLane;
let search: Search;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  lane = await holdSearchLane(database.pool);
  search = createSearch({ pool: database.pool, projections: shippedProjections() });
});
afterAll(async () => {
  await database.drop();
});

test('finds mail by its own index, and items by theirs, though both share their topics', async () => {
  const mail = await writeMail('Quarterly figures', ['INBOX']);
  const items = await writeItems(database.pool, [{ name: 'Quarterly planner' }]);
  const told = [{ topic: 'item.upserted', payload: { mail_id: mail } }, ...upserted(items)];
  await lane.deliver(search.handler, told);
  expect(lane.logged).toEqual([]);

  const found = await search.search('mail', {
    query: 'quarterly',
    organisation: 'acme',
    filter: { user_id: 'ada' },
  });
  expect(found.hits.map(({ id }) => id)).toEqual([mail]);
  expect((await search.search('items', { query: 'quarterly' })).hits.map(({ id }) => id)).toEqual(items);
  expect((await search.search('mail', { query: 'quarterly', organisation: 'other' })).total).toBe(0);
});

test('takes mail out of the index that went to the trash', async () => {
  const mail = await writeMail('Lottery', ['INBOX']);
  await lane.deliver(search.handler, [{ topic: 'item.upserted', payload: { mail_id: mail } }]);
  expect((await search.search('mail', { query: 'lottery' })).total).toBe(1);
  await database.pool.query(`update app.mail_messages set labels = '{TRASH}' where mail_id = $1`, [mail]);
  await lane.deliver(search.handler, [{ topic: 'item.upserted', payload: { mail_id: mail } }]);
  expect((await search.search('mail', { query: 'lottery' })).total).toBe(0);
});

test('reports an event once that names a row of neither', async () => {
  await lane.deliver(search.handler, [{ topic: 'item.upserted', payload: { id: 1 } }]);
  expect(lane.logged.map(({ reason }) => reason)).toEqual(['missing_id']);
});

let written = 0;

async function writeMail(subject: string, labels: readonly string[]): Promise<string> {
  written += 1;
  const { rows } = await database.pool.query<{ mail_id: string }>(
    `with connection as (
       insert into app.mail_connections (user_id, org_id, email, refresh_token)
       values ('ada', 'acme', $1, 'v1.none') returning connection_id
     )
     insert into app.mail_messages (connection_id, gmail_id, thread_id, labels, subject, sent_at)
     select connection_id, 'm1', 't1', $2, $3, now() from connection returning mail_id`,
    [`ada-${written}@example.com`, labels, subject],
  );
  return rows[0]?.mail_id ?? '';
}

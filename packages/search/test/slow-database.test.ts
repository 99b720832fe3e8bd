// A database that takes long, for a batch, for one row or for everything; and one that answers nothing at all.

import { createTestDatabase, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { createPool } from '@pulsebox/postgres';
import { postgresEngine, searchHandler, shippedProjections } from '@pulsebox/search';
import type { Projection, SearchEngine } from '@pulsebox/search';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished, test } from 'vitest';
import { upserted, writeItems } from './app-rows.ts';
import { holdSearchLane } from './search-lane.ts';
import type { SearchLane } from './search-lane.ts';

let database: TestDatabase;
let lane: SearchLane;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  lane = await holdSearchLane(database.pool);
  // Rows that take as long to read as their text says.
  await database.pool.query(`
    create view public.slow_documents as
      select item_id as id, org_id as organisation, archived_at is not null as deleted,
             jsonb_build_object('name', name, 'slept', pg_sleep(text::float8)::text) as document
      from app.items`);
});
beforeEach(async () => {
  await database.pool.query('delete from search.document; delete from app.items');
});
afterAll(async () => {
  await database.drop();
});

const [items] = shippedProjections();
const projections: readonly Projection[] =
  items === undefined ? [] : [{ ...items, view: 'public.slow_documents' }];

function engineWith(statementMs: number, pool: Pool = database.pool): SearchEngine {
  return postgresEngine({ pool, statementMs });
}

async function documents(): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>('select count(*)::int as n from search.document');
  return rows[0]?.n ?? 0;
}

test('a batch that takes longer than a statement may is written in parts, and says that it makes progress', async () => {
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 32 }, (_, n) => ({ name: `row ${n}`, text: '0.02' })),
  );
  const engine = engineWith(250);
  const handler = searchHandler({ pool: database.pool, engine, projections });
  const before = lane.progressed();
  await lane.deliver(handler, upserted(ids));
  expect(await documents()).toBe(32);
  expect(lane.progressed() - before).toBeGreaterThan(4);
});

test('a row that takes too long alone is reported, and all others are written', async () => {
  const [first = '', ...others] = await writeItems(database.pool, [
    { name: 'slow', text: '60' },
    ...Array.from({ length: 20 }, (_, n) => ({ name: `row ${n}`, text: '0' })),
  ]);
  const handler = searchHandler({ pool: database.pool, engine: engineWith(200), projections });
  const outcome = await handler(
    {
      group: 'search',
      lane: 0,
      events: [first, ...others, first].map((id, n) => ({
        position: n + 1,
        topic: 'item.upserted',
        payload: { item_id: id },
        key: null,
        headers: {},
        createdAt: new Date(),
      })),
    },
    lane.context(),
  );
  expect(outcome?.failed.map(({ position, retryable }) => ({ position, retryable }))).toEqual([
    { position: 1, retryable: true },
    { position: 22, retryable: true },
  ]);
  expect(outcome?.failed[0]?.reason).toContain(first);
  expect(await documents()).toBe(20);
});

test('when nothing gets through it is the database that is away, and no event is blamed', async () => {
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 8 }, () => ({ name: 'row', text: '0' })),
  );
  const handler = searchHandler({ pool: database.pool, engine: engineWith(150), projections });
  await lane.deliver(handler, upserted(ids.slice(0, 1)));
  const blocker = await database.pool.connect();
  onTestFinished(() => blocker.release(true));
  await blocker.query('begin; lock table search.document in access exclusive mode');
  await expect(lane.deliver(handler, upserted(ids))).rejects.toMatchObject({
    code: 'SEARCH_SINK_AWAY',
    kind: 'away',
  });
  await blocker.query('rollback');
  await lane.deliver(handler, upserted(ids));
  expect(await documents()).toBe(8);
});

test('a database that answers nothing in mid-batch ends in an error, and what was on its way takes no effect', async () => {
  const proxy = await tcpProxy(database.url);
  const connection = { connectionString: proxy.url, connectionTimeoutMillis: 500 };
  const pool = createPool({ connection, onIdleError: () => undefined });
  onTestFinished(async () => {
    await proxy.close();
    await pool.end();
  });
  const handler = searchHandler({ pool, engine: engineWith(150, pool), projections });
  const ids = await writeItems(database.pool, [
    { name: 'one', text: '0' },
    { name: 'two', text: '0.1' },
  ]);
  await lane.deliver(handler, upserted(ids.slice(0, 1)));
  const before = lane.progressed();
  const delivering = lane.deliver(handler, upserted(ids));
  delivering.catch(() => undefined);
  setTimeout(() => proxy.stall(), 30);
  await expect(delivering).rejects.toThrow('no answer within');
  // It said that it waits, all the time: the wait had an end.
  expect(lane.progressed() - before).toBeGreaterThan(5);
  expect(await documents()).toBe(1);
  proxy.restore();
  await lane.deliver(handler, upserted(ids));
  expect(await documents()).toBe(2);
});

test('vectors of many documents are made anew in pages that the database can bear', async () => {
  const ids = await writeItems(
    database.pool,
    Array.from({ length: 600 }, (_, n) => ({ name: `row ${n} ${'word '.repeat(400)}`, text: '0' })),
  );
  const handler = searchHandler({ pool: database.pool, engine: engineWith(5_000), projections });
  await lane.deliver(handler, upserted(ids));
  const [projection] = projections;
  if (projection === undefined) throw new Error('no projection');
  const settings = { ...projection.settings, searchable: ['name', 'slept', 'name'] };
  const changed = searchHandler({
    pool: database.pool,
    engine: engineWith(150),
    projections: [{ ...projection, settings }],
  });
  await lane.deliver(changed, upserted(ids.slice(0, 1)));
  const { rows } = await database.pool.query(
    `select from search.generation where searchable = '{name,slept,name}'`,
  );
  expect(rows).toHaveLength(1);
});

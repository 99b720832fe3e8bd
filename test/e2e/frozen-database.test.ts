// A database that freezes in the middle of a batch: it keeps its connections, takes new ones, and answers nothing.

import { createTestDatabase, eventually, freePort, runProgram, tcpProxy } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import { expect, inject, onTestFinished, test } from 'vitest';

test('a worker whose database freezes in mid-batch stays alive, says that it is not ready, and goes on by itself', async () => {
  const db = await createTestDatabase(inject('serverUrl'));
  const proxy = await tcpProxy(db.url);
  const blocker = await db.pool.connect();
  onTestFinished(async () => {
    blocker.release(true);
    await proxy.close();
    await db.drop();
  });
  const search = createSearch({ pool: db.pool, projections: shippedProjections() });
  const found = async (query: string): Promise<boolean> =>
    (await search.search('items', { query })).total === 1;
  const addItem = async (name: string): Promise<void> => {
    await db.pool.query(
      `with item as (
         insert into app.items (org_id, canonical_id, name) values ('acme', $1, $1) returning item_id
       )
       select outbox.emit('item.upserted', jsonb_build_object('item_id', item_id)) from item`,
      [name],
    );
  };

  // Three seconds until a loop is stale, so that a wait of eight would show.
  const port = await freePort();
  const worker = runProgram('apps/worker/src/index.ts', {
    args: ['--loop', '--interval', '0.5', '--idle-wait', '1'],
    env: { DATABASE_URL: proxy.url, WORKER_HEALTH_PORT: String(port) },
  });
  const status = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}${path}`)).status;
  await eventually(async () => (await status('/health/ready').catch(() => 0)) === 200, {
    message: `not ready: ${worker.output()}`,
  });
  await addItem('before');
  await eventually(() => found('before'));

  // The batch is in the middle of its statement, waiting for this lock, when the database freezes.
  await blocker.query('begin; lock table search.document in access exclusive mode');
  await addItem('meanwhile');
  await eventually(async () => {
    const { rows } = await db.pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
  proxy.stall();

  const seen = new Set<number>();
  await eventually(
    async () => {
      seen.add(await status('/health'));
      seen.add(await status('/health/live'));
      const away = worker.output().includes('the sink is away');
      return away && worker.output().includes('no answer within') && (await status('/health/ready')) === 503;
    },
    { message: `never gave up: ${worker.output()}` },
  );
  expect([...seen], worker.output()).toEqual([200]);

  await blocker.query('rollback');
  proxy.restore();
  await eventually(() => found('meanwhile'), { message: worker.output() });
  await eventually(async () => (await status('/health/ready')) === 200);
  expect(await status('/health')).toBe(200);
  worker.kill('SIGTERM');
  expect(await worker.exited, worker.output()).toMatchObject({ code: 0 });
});

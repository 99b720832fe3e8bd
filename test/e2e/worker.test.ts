// `worker` from outside, as a container runs it.

import { createTestDatabase, eventually, freePort, runProgram } from '@pulsebox/test-support';
import type { Program, TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

const ENTRY = 'apps/worker/src/index.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
});

afterAll(async () => {
  await db.drop();
});

async function addItem(name: string): Promise<string> {
  const { rows } = await db.pool.query<{ item_id: string }>(
    `with item as (
       insert into app.items (org_id, canonical_id, name) values ('acme', gen_random_uuid()::text, $1) returning item_id
     )
     select item_id, outbox.emit('item.upserted', jsonb_build_object('item_id', item_id), 'item:' || item_id) from item`,
    [name],
  );
  return rows[0]?.item_id ?? '';
}

async function found(query: string): Promise<number> {
  const search = createSearch({ pool: db.pool, projections: shippedProjections() });
  return (await search.search('items', { query })).total;
}

async function startWorker(env: Record<string, string> = {}): Promise<{ worker: Program; origin: string }> {
  const port = await freePort();
  const worker = runProgram(ENTRY, {
    args: ['--loop'],
    env: { DATABASE_URL: db.url, WORKER_HEALTH_PORT: String(port), OUTBOX_LEASE_SECONDS: '2', ...env },
  });
  const origin = `http://127.0.0.1:${port}`;
  await eventually(() => ready(origin), { message: `not ready: ${worker.output()}` });
  return { worker, origin };
}

async function ready(origin: string): Promise<boolean> {
  return await fetch(`${origin}/health/ready`).then(
    (response) => response.ok,
    () => false,
  );
}

describe('worker --loop', () => {
  test('indexes what is emitted, logs JSON, has no child processes, and stops with 0 on SIGTERM', async () => {
    const { worker, origin } = await startWorker();
    await addItem('Porcelain teapot');
    await eventually(async () => (await found('porcel')) === 1);

    const children = await readFile(
      `/proc/${worker.child.pid}/task/${worker.child.pid}/children`,
      'utf8',
    ).catch(() => '');
    expect(children).toBe('');
    const metrics = await (await fetch(`${origin}/metrics`)).text();
    expect(metrics).toContain('worker_up{worker="worker"} 1');
    expect(metrics).toContain('outbox_delivery_lag_seconds_count{group="search"} 1');

    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    for (const line of worker.output().trim().split('\n'))
      expect(() => JSON.parse(line) as unknown).not.toThrow();
    const { rows } = await db.pool.query(`select holder from pulsebox.lease where name = 'outbox/search/0'`);
    expect(rows).toEqual([{ holder: null }]);
  });

  test('delivers again what a killed worker had not stored, through the worker that takes over', async () => {
    const first = await startWorker();
    first.worker.kill('SIGKILL');
    await first.worker.exited;
    await addItem('Copper kettle');
    const second = await startWorker();
    await eventually(async () => (await found('copper kettle')) === 1);
    second.worker.kill('SIGTERM');
    expect(await second.worker.exited).toMatchObject({ code: 0 });
  });

  test('starts before its database is migrated, says what is missing, and works once it is there', async () => {
    const empty = await createTestDatabase(inject('serverUrl'), { migrated: false });
    try {
      const port = await freePort();
      const worker = runProgram(ENTRY, {
        args: ['--loop'],
        env: { DATABASE_URL: empty.url, WORKER_HEALTH_PORT: String(port) },
      });
      await worker.says('POSTGRES_MIGRATIONS_PENDING');
      expect(worker.output()).toContain('pulsebox migrate');
      const origin = `http://127.0.0.1:${port}`;
      expect((await fetch(`${origin}/health`)).status).toBe(200);
      expect((await fetch(`${origin}/health/ready`)).status).toBe(503);
      const migrate = runProgram('packages/cli/src/main.ts', {
        args: ['migrate'],
        env: { DATABASE_URL: empty.url },
      });
      expect(await migrate.exited, migrate.output()).toMatchObject({ code: 0 });
      await eventually(() => ready(origin));
      worker.kill('SIGTERM');
      expect(await worker.exited).toMatchObject({ code: 0 });
    } finally {
      await empty.drop();
    }
  });
});

describe('worker without --loop', () => {
  test('delivers one batch and exits with 0', async () => {
    await addItem('Silver spoon');
    const worker = runProgram(ENTRY, { env: { DATABASE_URL: db.url } });
    expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
    expect(await found('silver spoon')).toBe(1);
  });

  test('waits for the lease of a worker that was killed, says so, delivers one batch and exits with 0', async () => {
    const killed = await startWorker({ OUTBOX_LEASE_SECONDS: '12' });
    killed.worker.kill('SIGKILL');
    await killed.worker.exited;
    await addItem('Brass lantern');
    const worker = runProgram(ENTRY, { env: { DATABASE_URL: db.url, OUTBOX_LEASE_SECONDS: '12' } });
    expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
    expect(await found('brass lantern'), worker.output()).toBe(1);
    expect(worker.log().map(({ msg }) => msg)).toContain(
      'another worker holds the lease: waiting for its end, unless that worker renews it',
    );
  });

  test('beside a worker that lives leaves its groups to that one, and exits with 0', async () => {
    const { worker: alive } = await startWorker();
    const worker = runProgram(ENTRY, { env: { DATABASE_URL: db.url, OUTBOX_LEASE_SECONDS: '2' } });
    expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
    expect(worker.log().map(({ msg }) => msg)).toContain(
      'another worker reads this group: nothing is left for this one',
    );
    alive.kill('SIGTERM');
    expect(await alive.exited).toMatchObject({ code: 0 });
  });
});

describe('a worker that is configured badly', () => {
  test('says what it expects when no database is named', async () => {
    const worker = runProgram(ENTRY, { args: ['--loop'] });
    expect(await worker.exited).toMatchObject({ code: 1 });
    expect(worker.output()).toContain('expected DATABASE_URL (postgres://user:password@host:5432/database)');
  });

  test('says every fault at once, in words', async () => {
    const worker = runProgram(ENTRY, {
      args: ['--loop'],
      env: { DATABASE_URL: 'mysql://x', OUTBOX_WORKER_POLL_SECONDS: 'fast', MEILI_BATCH_SIZE: '0' },
    });
    expect(await worker.exited).toMatchObject({ code: 1 });
    expect(worker.output()).toContain(
      'expected OUTBOX_WORKER_POLL_SECONDS to be a positive number, got "fast"',
    );
    expect(worker.output()).toContain('expected MEILI_BATCH_SIZE to be');
    expect(worker.output()).toContain('expected DATABASE_URL to be');
  });

  test('names a flag that it cannot use', async () => {
    const worker = runProgram(ENTRY, {
      args: ['--loop', '--batch-size', 'many'],
      env: { DATABASE_URL: db.url },
    });
    expect((await worker.exited).code).not.toBe(0);
    expect(worker.output()).toMatch(/expected --batch-size to be .*, got "many"/);
  });

  test('says what is wrong with a projection file', async () => {
    const worker = runProgram(ENTRY, {
      args: ['--loop'],
      env: { DATABASE_URL: db.url, PULSEBOX_PROJECTIONS: '/nowhere/projections.json' },
    });
    expect(await worker.exited).toMatchObject({ code: 1 });
    expect(worker.output()).toContain('/nowhere/projections.json');
    expect(worker.output()).toContain('SEARCH_PROJECTION_INVALID');
  });
});

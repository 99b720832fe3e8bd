import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { createPool } from '../src/pool.ts';
import { transaction } from '../src/transaction.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await database.pool.query('create table note (text text primary key)');
});
afterEach(() => {
  if (database.pool.idleCount !== database.pool.totalCount) throw new Error('a connection is still in use');
});
afterAll(async () => {
  await database.drop();
});

async function notes(like: string): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(
    'select count(*)::int as n from note where text like $1',
    [like],
  );
  return rows[0]!.n;
}

test('commits, and returns what the work returned', async () => {
  const result = await transaction(database.pool, async (client) => {
    await client.query(`insert into note values ('kept')`);
    return 42;
  });
  expect([result, await notes('kept')]).toEqual([42, 1]);
});

test('rolls back and throws what the work threw', async () => {
  const error = new Error('no');
  const failing = transaction(database.pool, async (client) => {
    await client.query(`insert into note values ('dropped')`);
    throw error;
  });
  await expect(failing).rejects.toBe(error);
  expect(await notes('dropped')).toBe(0);
});

test('is an error when the server answers ROLLBACK to COMMIT, because a failure was swallowed', async () => {
  const swallowing = transaction(database.pool, async (client) => {
    await client.query(`insert into note values ('swallowed')`);
    await client.query('select 1 / 0').catch(() => undefined);
  });
  await expect(swallowing).rejects.toMatchObject({
    code: 'POSTGRES_COMMIT_ROLLED_BACK',
    message: 'the server answered ROLLBACK to COMMIT: nothing was stored',
  });
  expect(await notes('swallowed')).toBe(0);
});

test('throws what a deferred constraint says at the commit', async () => {
  await database.pool.query('create table once (id int unique deferrable initially deferred)');
  const late = transaction(database.pool, async (client) => client.query('insert into once values (1), (1)'));
  await expect(late).rejects.toMatchObject({ code: '23505' });
});

test('destroys a connection that broke in the middle, and the next one is sound', async () => {
  const before = database.pool.totalCount;
  const broken = transaction(database.pool, async (client) => {
    await client.query(`insert into note values ('broken')`);
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
    await client.query('select 1');
  });
  await expect(broken).rejects.toThrow(/terminat|ended|closed|connection error/i);
  expect(database.pool.totalCount).toBeLessThanOrEqual(Math.max(before, 1));
  expect(await transaction(database.pool, async (client) => (await client.query('select 1')).rowCount)).toBe(
    1,
  );
  expect(await notes('broken')).toBe(0);
});

test('throws when the answer to the commit is lost, and the pool goes on', async () => {
  const proxy = await tcpProxy(database.url);
  const pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
  try {
    await pool.query('select 1');
    const lost = proxy.loseAnswerTo('commit');
    const unsure = transaction(pool, async (client) => client.query(`insert into note values ('unsure')`));
    await expect(unsure).rejects.toThrow(/terminat|ended|closed|reset|connection error/i);
    await lost;
    // The server did commit: whoever gets such an error must be able to do it again.
    await eventually(async () => (await notes('unsure')) === 1);
    expect((await pool.query('select 1')).rowCount).toBe(1);
  } finally {
    await pool.end();
    await proxy.close();
  }
});

test('leaves no connection in use and no listener behind, a hundred failures later', async () => {
  const warnings: string[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning.name);
  process.on('warning', onWarning);
  for (let n = 0; n < 100; n += 1) {
    await transaction(database.pool, async (client) => {
      await client.query('select 1 / $1::int', [n % 2]);
      throw new Error('no');
    }).catch(() => undefined);
  }
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
  expect(database.pool.waitingCount).toBe(0);
});

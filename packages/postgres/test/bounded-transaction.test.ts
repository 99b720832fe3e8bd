import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { boundedTransaction } from '../src/bounded-transaction.ts';
import { createPool } from '../src/pool.ts';

let database: TestDatabase;
let proxy: TcpProxy;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await database.pool.query('create table note (text text primary key)');
});
beforeEach(async () => {
  proxy = await tcpProxy(database.url);
  pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
});
afterEach(async () => {
  const inUse = pool.totalCount - pool.idleCount;
  await proxy.close();
  await pool.end();
  await database.pool.query('truncate note');
  if (inUse > 0) throw new Error('a connection is still in use');
});
afterAll(async () => {
  await database.drop();
});

async function notes(): Promise<string[]> {
  const { rows } = await database.pool.query<{ text: string }>('select text from note order by text');
  return rows.map(({ text }) => text);
}

async function othersBusy(): Promise<boolean> {
  const { rows } = await database.pool.query(
    `select from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`,
  );
  return rows.length > 0;
}

test('commits, and leaves the bounds of the session as they were', async () => {
  const inside = await boundedTransaction(pool, { statementMs: 1_234 }, async (db) => {
    await db.query(`insert into note values ('kept')`);
    return (await db.query<{ statement_timeout: string }>('show statement_timeout')).rows[0];
  });
  expect(inside).toEqual({ statement_timeout: '1234ms' });
  expect(await notes()).toEqual(['kept']);
  expect((await pool.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '0' }]);
});

test('has the server end a statement that takes too long, and rolls back', async () => {
  const slow = boundedTransaction(pool, { statementMs: 100 }, async (db) => {
    await db.query(`insert into note values ('dropped')`);
    await db.query('select pg_sleep(60)');
  });
  await expect(slow).rejects.toMatchObject({ code: '57014' });
  expect(await notes()).toEqual([]);
  // The connection is in order, and used again.
  expect(pool.idleCount).toBe(1);
});

test('gives up on a database that answers nothing, saying meanwhile that it waits', async () => {
  let said = 0;
  const hung = boundedTransaction(pool, { statementMs: 100, onWaiting: () => (said += 1) }, async (db) => {
    await db.query(`insert into note values ('hung')`);
    proxy.stall();
    await db.query('select 1');
  });
  await expect(hung).rejects.toThrow(/^no answer within 3100 ms$/);
  expect(said).toBeGreaterThan(2);
  proxy.restore();
  await eventually(async () => !(await othersBusy()));
  expect(await notes()).toEqual([]);
});

test('a statement that was on its way when it was given up takes no effect when it arrives', async () => {
  const aborting = new AbortController();
  const late = boundedTransaction(pool, { statementMs: 5_000, signal: aborting.signal }, async (db) => {
    await db.query('select 1');
    proxy.stall();
    const sent = db.query(`insert into note values ('late')`);
    setImmediate(() => aborting.abort(new Error('the lease is lost')));
    await sent;
  });
  await expect(late).rejects.toThrow('the lease is lost');
  await database.pool.query(`insert into note values ('second attempt')`);
  proxy.restore();
  await eventually(async () => !(await othersBusy()));
  expect(await notes()).toEqual(['second attempt']);
});

test('is ended by the server when nothing follows for too long, so that no lock outlives its holder here', async () => {
  const silent = boundedTransaction(pool, { statementMs: 100 }, async (db) => {
    await db.query(`insert into note values ('idle')`);
    await eventually(async () => !(await othersBusy()));
  });
  await expect(silent).rejects.toThrow(/idle-in-transaction|not queryable|terminat/);
  expect(await notes()).toEqual([]);
});

test('does not begin when the signal is aborted already', async () => {
  const aborted = AbortSignal.abort(new Error('stopping'));
  await expect(
    boundedTransaction(pool, { statementMs: 100, signal: aborted }, () => Promise.reject(new Error('ran'))),
  ).rejects.toThrow('stopping');
  expect(pool.totalCount).toBe(0);
});

test('is an error when the server answers ROLLBACK to COMMIT', async () => {
  const swallowing = boundedTransaction(pool, { statementMs: 1_000 }, async (db) => {
    await db.query('select 1 / 0').catch(() => undefined);
  });
  await expect(swallowing).rejects.toMatchObject({ code: 'POSTGRES_COMMIT_ROLLED_BACK' });
});

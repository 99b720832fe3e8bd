import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createPool } from '../src/pool.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

test('a connection that dies in use, and in no query, is an error of the next query and of nothing else', async () => {
  const idleErrors: Error[] = [];
  const pool = createPool({
    connection: { connectionString: database.url },
    onIdleError: (error) => idleErrors.push(error),
  });
  try {
    const client = await pool.connect();
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    // Nobody listens for its error: unheard, it would be an uncaught exception.
    const ended = new Promise((resolve) => client.once('end', resolve));
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    await ended;

    await expect(client.query('select 1')).rejects.toThrow(/not queryable/);
    client.release();
    await expect(pool.query('select 1')).resolves.toMatchObject({ rowCount: 1 });
    expect(idleErrors).toEqual([]);
  } finally {
    await pool.end();
  }
});

test('an error of an idle connection is told, unless the pool is being ended', async () => {
  const idleErrors: unknown[] = [];
  const connection = { connectionString: database.url };
  const pool = createPool({ connection, onIdleError: (error) => idleErrors.push(error) });
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
  await database.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
  await eventually(() => idleErrors.length === 1);
  expect(idleErrors).toMatchObject([{ code: '57P01' }]);

  const client = await pool.connect();
  client.release();
  const ended = pool.end();
  client.emit('error', new Error('what the server said while it was told good-bye'));
  await ended;
  expect(idleErrors).toHaveLength(1);
});

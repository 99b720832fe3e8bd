import { createTestDatabase } from '@pulsebox/test-support';
import pg from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { connectionConfig, describeConnection } from '../src/connection.ts';

describe('connectionConfig', () => {
  test('takes the parts, and leaves out what is not given', () => {
    const parts = { host: 'db', port: 5433, database: 'app', user: 'me', password: 'p@ss/word' };
    expect(connectionConfig(parts, 'worker')).toMatchObject({ ...parts, application_name: 'worker' });
    expect(connectionConfig({ host: 'db' }, 'worker')).not.toHaveProperty('port');
  });

  test('prefers the URL to the parts', () => {
    const config = connectionConfig({ url: 'postgresql://a:b@c:1/d', host: 'other' }, 'worker');
    expect(config).toMatchObject({ connectionString: 'postgresql://a:b@c:1/d' });
    expect(config).not.toHaveProperty('host');
  });

  test('connects under the name it was given', async () => {
    const database = await createTestDatabase(inject('serverUrl'));
    const client = new pg.Client(connectionConfig({ url: database.url }, 'worker-7'));
    await client.connect();
    const { rows } = await client.query(
      'select application_name as name from pg_stat_activity where pid = pg_backend_pid()',
    );
    await client.end();
    await database.drop();
    expect(rows).toEqual([{ name: 'worker-7' }]);
  });

  test.each([
    [{}, 'no database is configured'],
    [{ url: 'mysql://a:b@c/d' }, 'DATABASE_URL is not a PostgreSQL URL'],
    [{ url: 'localhost:5432' }, 'DATABASE_URL is not a PostgreSQL URL'],
    [{ url: '' }, 'DATABASE_URL is not a PostgreSQL URL'],
    [{ url: 'postgres://user:se#cret@host/db' }, 'DATABASE_URL is not a PostgreSQL URL'],
  ])('refuses %j, and never repeats what was in it', (source, message) => {
    let thrown: unknown;
    try {
      connectionConfig(source, 'worker');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      code: 'POSTGRES_CONNECTION_CONFIG',
      message,
      hint: expect.stringMatching(/\w/),
    });
    expect(JSON.stringify(thrown)).not.toContain('cret');
  });
});

test('describeConnection names the place and none of its secrets', () => {
  const url = 'postgres://user:secret@db.example:5433/app?password=secret&sslmode=require';
  expect(describeConnection({ connectionString: url })).toBe('db.example:5433/app');
  expect(describeConnection({ host: 'db', user: 'user', password: 'secret', database: 'app' })).toBe(
    'db:5432/app',
  );
  expect(describeConnection({})).toBe('localhost:5432/');
});

import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import pg from 'pg';
import type { ClientConfig } from 'pg';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { assertMigrated, migrate, migrationStatus } from '../src/migrate.ts';
import type { MigrationSet } from '../src/migration-set.ts';

let database: TestDatabase;
let connection: ClientConfig;
let folder: string;
let set: MigrationSet;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'), { migrated: false });
  connection = { connectionString: database.url };
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-migrate-'));
  set = { name: 'shop', directory: pathToFileURL(`${folder}/`) };
  await write(
    '0001_orders',
    'create table orders (id int); create table applied (n int); insert into applied values (1)',
  );
  await write('0002_lines', 'create table lines (id int); insert into applied values (2)');
});
afterEach(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});

async function write(name: string, sql: string): Promise<void> {
  await writeFile(join(folder, `${name}.sql`), sql);
}

async function applied(): Promise<number[]> {
  const { rows } = await database.pool.query<{ n: number }>('select n from applied');
  return rows.map((row) => row.n);
}

const names = (migrations: readonly { readonly name: string }[]): string[] =>
  migrations.map(({ name }) => name);

describe('migrate', () => {
  test('applies what is pending in the order of the numbers, and nothing twice', async () => {
    expect(names((await migrate(connection, [set])).applied)).toEqual(['0001_orders', '0002_lines']);
    await write('0010_later', 'insert into applied values (10)');
    await write('0003_sooner', 'insert into applied values (3)');
    expect(names((await migrate(connection, [set])).applied)).toEqual(['0003_sooner', '0010_later']);
    expect((await migrate(connection, [set])).applied).toEqual([]);
    expect(await applied()).toEqual([1, 2, 3, 10]);
  });

  test('keeps sets apart: the same number in two of them is two migrations', async () => {
    const other = await mkdtemp(join(tmpdir(), 'pulsebox-migrate-'));
    await cp(join(folder, '0002_lines.sql'), join(other, '0002_other.sql'));
    await writeFile(join(other, '0002_other.sql'), 'insert into applied values (22)');
    await migrate(connection, [set, { name: 'other', directory: pathToFileURL(`${other}/`) }]);
    await rm(other, { recursive: true });
    expect(await applied()).toEqual([1, 2, 22]);
  });

  test('applies each migration once when many processes migrate a fresh database at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, async () => migrate(connection, [set])));
    expect(outcomes.flatMap((outcome) => names(outcome.applied)).toSorted()).toEqual([
      '0001_orders',
      '0002_lines',
    ]);
    expect(await applied()).toEqual([1, 2]);
  });

  test('waits for another that migrates, however long that takes, and then applies nothing', async () => {
    await migrate(connection, [set]);
    const other = new pg.Client(connection);
    await other.connect();
    await other.query('begin');
    await other.query('select pg_advisory_xact_lock(8101914125081122)');
    const second = migrate({ ...connection, application_name: 'second' }, [set]);
    const waiting = await eventually(async () => {
      const { rows } = await database.pool.query<{ query: string }>(
        `select query from pg_stat_activity where application_name = 'second' and wait_event_type = 'Lock'`,
      );
      return rows[0];
    });
    expect(waiting.query).toContain('pg_advisory_xact_lock');
    await other.query('commit');
    await other.end();
    expect((await second).applied).toEqual([]);
  });

  test('gives waiting for another migrator no time limit, and a lock on a table ten seconds', async () => {
    await write(
      '0003_limits',
      `insert into applied values (extract(epoch from current_setting('lock_timeout')::interval))`,
    );
    await migrate(connection, [set]);
    expect(await applied()).toEqual([1, 2, 10]);
  });

  test('leaves nothing of a migration that fails, keeps those before it, and carries on once it is mended', async () => {
    await write('0003_broken', 'create table half (id int); select 1 / 0');
    await write('0004_after', 'insert into applied values (4)');
    await expect(migrate(connection, [set])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_FAILED',
      message: 'migration shop/0003_broken failed: division by zero',
      hint: expect.stringContaining('nothing of it was stored'),
      cause: expect.objectContaining({ code: '22012' }),
    });
    expect(await applied()).toEqual([1, 2]);
    const { rows } = await database.pool.query(`select to_regclass('half') as half`);
    expect(rows).toEqual([{ half: null }]);
    await write('0003_broken', 'insert into applied values (3)');
    await migrate(connection, [set]);
    expect(await applied()).toEqual([1, 2, 3, 4]);
  });

  test('refuses a file that was edited after it was applied, before it applies anything', async () => {
    await migrate(connection, [set]);
    await write('0001_orders', 'create table orders (id bigint)');
    await write('0003_new', 'insert into applied values (3)');
    await expect(migrate(connection, [set])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_CHANGED',
      message: 'migration shop/0001_orders was edited after it was applied to this database',
    });
    expect(await applied()).toEqual([1, 2]);
  });
});

describe('a set that is code', () => {
  /** A library that makes a table, and knows by itself whether it has. */
  const library = (fault?: Error): MigrationSet => ({
    name: 'library',
    migrations: [
      {
        number: 7,
        name: '0007_library',
        async isApplied(client) {
          const { rows } = await client.query(`select to_regclass('book') is not null as there`);
          return rows[0].there;
        },
        async apply(client) {
          await client.query('create table book (id int)');
          if (fault !== undefined) throw fault;
        },
      },
    ],
  });

  const recorded = async (): Promise<unknown[]> =>
    (await database.pool.query(`select number, name from pulsebox.migration where set_name = 'library'`))
      .rows;

  test('is applied in its turn, once by all who migrate, and recorded', async () => {
    const sets = [set, library()];
    const { pending } = await migrationStatus(connection, sets);
    expect(names(pending)).toEqual(['0001_orders', '0002_lines', '0007_library']);
    const outcomes = await Promise.all([1, 2, 3].map(async () => migrate(connection, sets)));
    expect(
      outcomes.flatMap((outcome) => names(outcome.applied)).filter((name) => name === '0007_library'),
    ).toEqual(['0007_library']);
    expect(await recorded()).toEqual([{ number: 7, name: '0007_library' }]);
    await expect(assertMigrated(connection, sets)).resolves.toBeUndefined();
  });

  test('is asked whether it is there, whatever is recorded', async () => {
    await database.pool.query('create table book (id int)');
    expect(names((await migrate(connection, [library()])).applied)).toEqual([]);
    await database.pool.query('drop table book');
    await expect(assertMigrated(connection, [library()])).rejects.toThrow('library/0007_library');
    await migrate(connection, [library()]);
    await database.pool.query('drop table book');
    expect(names((await migrate(connection, [library()])).applied)).toEqual(['0007_library']);
    expect(await recorded()).toHaveLength(1);
  });

  test('leaves nothing when it fails, and says what it knows of the remedy', async () => {
    const fault = Object.assign(new Error('too many books'), { hint: 'sell some' });
    await expect(migrate(connection, [library(fault)])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_FAILED',
      message: 'migration library/0007_library failed: too many books',
      hint: 'sell some',
      cause: fault,
    });
    expect(await recorded()).toEqual([]);
    expect((await migrationStatus(connection, [library()])).pending).toHaveLength(1);
  });
});

describe('a worker at its start', () => {
  test('refuses a database where migrations are pending, and names them', async () => {
    await expect(assertMigrated(connection, [set])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATIONS_PENDING',
      message: 'the database lacks 2 migration(s): shop/0001_orders, shop/0002_lines',
      hint: expect.stringContaining('pulsebox migrate'),
    });
    await migrate(connection, [set]);
    await expect(assertMigrated(connection, [set])).resolves.toBeUndefined();
    await write('0003_new', 'select 1');
    await expect(assertMigrated(connection, [set])).rejects.toThrow('lacks 1 migration(s): shop/0003_new');
  });

  test('changes nothing by asking', async () => {
    const { pending } = await migrationStatus(connection, [set]);
    expect(names(pending)).toEqual(['0001_orders', '0002_lines']);
    const { rows } = await database.pool.query(`select to_regnamespace('pulsebox') as schema`);
    expect(rows).toEqual([{ schema: null }]);
  });

  test('notices an edited file', async () => {
    await migrate(connection, [set]);
    await write('0002_lines', 'select 2');
    await expect(migrationStatus(connection, [set])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_CHANGED',
    });
  });
});

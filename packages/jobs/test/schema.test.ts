import { assertMigrated, createPool, migrate, migrationStatus } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import type { ClientConfig } from 'pg';
import { getConstructionPlans, getRollbackPlans, PgBoss } from 'pg-boss';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { defineQueue, JOBS_SCHEMA_VERSION, jobsMigrations, openJobs } from '../src/index.ts';
import { quiet } from './turn-loop.ts';

let database: TestDatabase;
let connection: ClientConfig;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'), { migrated: false });
  connection = { connectionString: database.url };
});
afterEach(async () => {
  await database.drop();
});

async function version(): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ version: number }>('select version from pgboss.version');
  return rows[0]?.version;
}

/** What pg-boss itself says of the tables, indexes, functions and constraints that are there. */
async function drift(): Promise<object> {
  const boss = new PgBoss({
    db: { executeSql: async (text, values) => database.pool.query(text, values) },
    migrate: false,
    supervise: false,
    schedule: false,
  });
  const { ok, extraIndexes } = await boss.detectSchemaDrift();
  return { ok, extraIndexes };
}

/** Takes the schema back to an older version, as pg-boss does it, one version at a time. */
async function goBackTo(older: number): Promise<void> {
  for (let from = JOBS_SCHEMA_VERSION; from > older; from -= 1) {
    await database.pool.query(getRollbackPlans('pgboss', from));
  }
  expect(await version()).toBe(older);
}

describe('migrating', () => {
  test('installs the version of the schema that pg-boss works with, and nothing twice', async () => {
    expect(getConstructionPlans('pgboss')).toContain(`VALUES ('${JOBS_SCHEMA_VERSION}')`);
    expect((await migrationStatus(connection, [jobsMigrations])).pending).toHaveLength(1);
    const { applied } = await migrate(connection, [jobsMigrations]);
    expect(applied.map(({ set, name }) => `${set}/${name}`)).toEqual([
      `jobs/00${JOBS_SCHEMA_VERSION}_pgboss`,
    ]);
    expect((await migrate(connection, [jobsMigrations])).applied).toEqual([]);
    expect(await version()).toBe(JOBS_SCHEMA_VERSION);
    expect(await drift()).toEqual({ ok: true, extraIndexes: [] });
    await expect(assertMigrated(connection, [jobsMigrations])).resolves.toBeUndefined();
  });

  test('installs it once when many processes migrate a fresh database at once', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, async () => migrate(connection, [jobsMigrations])),
    );
    expect(outcomes.flatMap(({ applied }) => applied)).toHaveLength(1);
    expect(await version()).toBe(JOBS_SCHEMA_VERSION);
  });

  test.for([JOBS_SCHEMA_VERSION - 1, 38, 30, 25])(
    'brings version %i up to date with the jobs in it, and leaves no index to be built later',
    async (older) => {
      await migrate(connection, [jobsMigrations]);
      const jobs = openJobs({ pool: database.pool, log: quiet });
      const queue = defineQueue<{ n: number }>('old');
      await jobs.ensureQueue(queue);
      await jobs.sendAll(queue, [{ data: { n: 1 } }, { data: { n: 2 }, delaySeconds: 600 }]);
      await jobs.stop();
      await goBackTo(older);

      expect((await migrationStatus(connection, [jobsMigrations])).pending).toHaveLength(1);
      const early = openJobs({ pool: database.pool, log: quiet });
      await expect(early.ready()).rejects.toMatchObject({
        code: 'JOBS_SCHEMA_OLDER',
        message: `expected version ${JOBS_SCHEMA_VERSION} of the schema pgboss, got ${older}`,
        hint: expect.stringContaining('pulsebox migrate'),
      });
      await early.stop();
      const outcomes = await Promise.all([1, 2, 3].map(async () => migrate(connection, [jobsMigrations])));
      expect(outcomes.flatMap(({ applied }) => applied)).toHaveLength(1);
      expect(await drift()).toMatchObject({ ok: true });
      const later = openJobs({ pool: database.pool, log: quiet });
      expect((await later.fetch(queue, { batchSize: 5 })).map(({ data }) => data)).toEqual([{ n: 1 }]);
      await later.stop();
    },
  );

  test('makes the schema once more when somebody has dropped it', async () => {
    await migrate(connection, [jobsMigrations]);
    await database.pool.query('drop schema pgboss cascade');
    expect((await migrationStatus(connection, [jobsMigrations])).pending).toHaveLength(1);
    await migrate(connection, [jobsMigrations]);
    expect(await version()).toBe(JOBS_SCHEMA_VERSION);
  });

  test('names a schema that is newer, to those who migrate, ask, or start', async () => {
    await migrate(connection, [jobsMigrations]);
    await database.pool.query('update pgboss.version set version = 99');
    const named = {
      code: 'JOBS_SCHEMA_NEWER',
      message: `expected version ${JOBS_SCHEMA_VERSION} of the schema pgboss, got 99, which is newer`,
      hint: expect.stringContaining('a later Pulsebox'),
    };
    await expect(migrate(connection, [jobsMigrations])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_FAILED',
      hint: named.hint,
      cause: named,
    });
    await expect(migrationStatus(connection, [jobsMigrations])).rejects.toMatchObject(named);
    await expect(assertMigrated(connection, [jobsMigrations])).rejects.toMatchObject(named);
    await expect(openJobs({ pool: database.pool, log: quiet }).ready()).rejects.toMatchObject(named);
    expect(await version()).toBe(99);
  });

  test("leaves an application's own pg-boss alone, unless it is of the same version", async () => {
    await database.pool.query(getConstructionPlans('pgboss'));
    await expect(assertMigrated(connection, [jobsMigrations])).resolves.toBeUndefined();
    await goBackTo(JOBS_SCHEMA_VERSION - 1);
    await expect(migrate(connection, [jobsMigrations])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_FAILED',
      hint: expect.stringContaining('an application uses pg-boss here'),
      cause: { code: 'JOBS_SCHEMA_FOREIGN' },
    });
    expect(await version()).toBe(JOBS_SCHEMA_VERSION - 1);
  });
});

describe('a role', () => {
  test('that may not make a schema is told who may', async () => {
    const url = await roleUrl();
    await expect(migrate({ connectionString: url }, [jobsMigrations])).rejects.toMatchObject({
      code: 'POSTGRES_MIGRATION_FAILED',
      hint: expect.stringContaining('grant create on database'),
    });
  });

  test('that may not work with the schema is told what to grant', async () => {
    await migrate(connection, [jobsMigrations]);
    const url = await roleUrl();
    const pool = createPool({ connection: { connectionString: url }, onIdleError: () => undefined });
    const jobs = openJobs({ pool, log: quiet });
    const queue = defineQueue('mine');
    const denied = {
      code: 'JOBS_PRIVILEGE_MISSING',
      hint: expect.stringContaining('grant usage on schema pgboss'),
    };
    await expect(jobs.ready()).rejects.toMatchObject(denied);
    const role = new URL(url).username;
    await database.pool.query(`grant usage on schema pgboss to ${role}`);
    await database.pool.query(`grant select on pgboss.version, pgboss.queue to ${role}`);
    await expect(jobs.ensureQueue(queue)).rejects.toMatchObject(denied);
    // What the hint says is enough.
    await database.pool.query(
      `grant select, insert, update, delete on all tables in schema pgboss to ${role}`,
    );
    await jobs.ensureQueue(queue);
    await jobs.send(queue, { n: 1 });
    const [job] = await jobs.fetch(queue);
    expect(job?.data).toEqual({ n: 1 });
    await jobs.maintain();
    await jobs.stop();
    await pool.end();
    await database.pool.query(`drop owned by ${role}`);
    await database.pool.query(`drop role ${role}`);
  });

  async function roleUrl(): Promise<string> {
    const role = `r_${database.name}`;
    await database.pool.query(`drop role if exists ${role}`);
    await database.pool.query(`create role ${role} login password 'secret'`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'secret';
    return url.href;
  }
});

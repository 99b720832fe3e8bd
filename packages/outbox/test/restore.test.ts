import { acquireLease, createPool, migrate, postgresMigrations } from '@pulsebox/postgres';
import {
  createTestDatabase,
  debianPostgresInstalled,
  dumpAndRestore,
  startDebianServer,
  startTemporaryServer,
} from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { afterEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { outboxMigrations } from '../src/index.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { rebaseAfterRestore } from '../src/log/restore.ts';
import { dropOldestPartition } from '../src/upkeep/retention.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor, storeCursor } from '../src/lease/store-cursor.ts';
import { labelOf } from './log-reader.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

const writers: Writer[] = [];

afterEach(async () => {
  for (const writer of writers.splice(0)) await writer.close();
});

async function writerOn(pool: Pool): Promise<Writer> {
  const writer = await openWriter(pool);
  writers.push(writer);
  return writer;
}

async function commit(pool: Pool, ...labels: readonly string[]): Promise<void> {
  const writer = await writerOn(pool);
  await writer.emit(...labels);
  await writer.commit();
}

interface Reading {
  readonly limit?: number;
  readonly batches?: number;
}

/** Opens the lane as a relay does, and delivers. */
async function deliver(
  pool: Pool,
  group: string,
  { limit = 100, batches = 100 }: Reading = {},
): Promise<string[]> {
  await registerGroup(pool, group, 'beginning');
  const lane = { group, lane: 0 };
  const attempt = await acquireLease(pool, { name: laneLeaseName(lane), holder: 'test', ttlMs: 0 });
  if (!attempt.acquired) throw new Error('no lease');
  const labels: string[] = [];
  for (let batch = 1; batch <= batches; batch += 1) {
    const stored = (await loadCursor(pool, lane))!;
    const { events, next } = await readBatch(pool, stored.cursor, limit);
    if (events.length === 0) break;
    labels.push(...events.map(labelOf));
    await storeCursor(pool, lane, { cursor: next, token: attempt.token, batch, delivered: 0 });
  }
  return labels;
}

async function currentXid(pool: Pool): Promise<bigint> {
  const { rows } = await pool.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
  return BigInt(rows[0]!.xid);
}

/** Takes xids until the next one is `xid`. */
async function reach(pool: Pool, xid: bigint): Promise<void> {
  let next = (await currentXid(pool)) + 1n;
  if (next > xid) throw new Error(`${xid} is behind, the next one is ${next}`);
  while (next < xid) next = (await currentXid(pool)) + 1n;
}

/** Copies the rows of the log alone, for machines without pg_dump. */
async function copyRows(from: Pool, to: Pool): Promise<void> {
  await to.query('delete from outbox.setting');
  for (const table of [
    'outbox.event',
    'outbox.consumer_group',
    'outbox.cursor',
    'outbox.setting',
    'pulsebox.lease',
    'outbox.sealed_partition',
  ]) {
    const { rows } = await from.query<{ row: string }>(`select to_jsonb(t)::text as row from ${table} t`);
    for (const { row } of rows)
      await to.query(`insert into ${table} select * from jsonb_populate_record(null::${table}, $1)`, [row]);
  }
  const { rows } = await from.query<{ last_value: string }>('select last_value from outbox.event_seq');
  await to.query(`select setval('outbox.event_seq', $1)`, [rows[0]!.last_value]);
}

interface Clusters {
  readonly source: Pool;
  /** Another cluster, without anything of ours until the restore. */
  readonly target: Pool;
  restore(): Promise<void>;
}

function poolOf(url: string): Pool {
  const pool = createPool({ connection: { connectionString: url }, max: 10, onIdleError: () => undefined });
  onTestFinished(async () => {
    await Promise.all(writers.splice(0).map((writer) => writer.close()));
    await pool.end();
  });
  return pool;
}

async function byCopy(): Promise<Clusters> {
  const database = await createTestDatabase(inject('serverUrl'));
  onTestFinished(() => database.drop());
  const server = await startTemporaryServer({ fsync: 'off' });
  onTestFinished(() => server.stop());
  const connection = { connectionString: server.url };
  await migrate(connection, [postgresMigrations, outboxMigrations]);
  const target = poolOf(server.url);
  return { source: poolOf(database.url), target, restore: () => copyRows(database.pool, target) };
}

async function byDump(): Promise<Clusters> {
  const [from, to] = await Promise.all([startDebianServer(), startDebianServer()]);
  onTestFinished(async () => {
    await Promise.all([from.stop(), to.stop()]);
  });
  await migrate({ connectionString: from.url }, [postgresMigrations, outboxMigrations]);
  const target = poolOf(to.url);
  // Roles belong to the cluster; a dump of one database has none.
  await target.query('create role outbox_emitter nologin');
  return { source: poolOf(from.url), target, restore: () => dumpAndRestore(from.url, to.url) };
}

if (!debianPostgresInstalled)
  console.warn(
    '\n*** pg_dump of PostgreSQL 15 is not installed here: the restore is tested by copying rows alone. ***\n',
  );

const WAYS: readonly (readonly [string, () => Promise<Clusters>])[] = [
  ['rows copied between two servers', byCopy],
  ...(debianPostgresInstalled ? [['pg_dump and psql', byDump] as const] : []),
];

describe.each(WAYS)('a log restored into another cluster, by %s', (_, clusters) => {
  test('is read on with nothing lost, nothing twice and nothing inverted, though xids are used again', async () => {
    const { source, target, restore } = await clusters();
    // Far enough that the new cluster reaches these xids only when the test says so.
    await reach(source, (await currentXid(target)) + (await currentXid(source)) + 300n);
    const late = await writerOn(source);
    await late.emit('late#1', 'late#2', 'late#3');
    const lateXid = await late.xid();
    await commit(source, 'a#1', 'b#1');
    expect(await deliver(source, 'g')).toEqual(['a#1', 'b#1']);
    await late.commit();
    await commit(source, 'a#2');
    await restore();

    // Written before any worker has noticed, under xids that are below the old ones.
    await commit(target, 'c#1');
    expect(await deliver(target, 'g', { limit: 2 })).toEqual(['late#1', 'late#2', 'late#3', 'a#2', 'c#1']);
    expect(await rebaseAfterRestore(target)).toBe(false);

    // The new cluster comes to the very xids that delivered rows carry, and commits them late.
    await reach(target, lateXid);
    const again = await writerOn(target);
    await again.emit('again#1');
    expect(await again.xid()).toBe(lateXid);
    await commit(target, 'd#1');
    expect(await deliver(target, 'g')).toEqual(['d#1']);
    await again.commit();
    await commit(target, 'd#2');
    expect(await deliver(target, 'g')).toEqual(['again#1', 'd#2']);
    expect(await deliver(target, 'g')).toEqual([]);
  });

  test('delivers a page of late events that was under way once more, from its first', async () => {
    const { source, target, restore } = await clusters();
    const late = await writerOn(source);
    await late.emit('late#1', 'late#2', 'late#3', 'late#4', 'late#5');
    await commit(source, 'a#1');
    await deliver(source, 'g');
    await late.commit();
    expect(await deliver(source, 'g', { limit: 2, batches: 1 })).toEqual(['late#1', 'late#2']);
    await restore();
    expect(await deliver(target, 'g', { limit: 2 })).toEqual([
      'late#1',
      'late#2',
      'late#3',
      'late#4',
      'late#5',
    ]);
    expect(await deliver(target, 'g')).toEqual([]);
  });

  test('has a holder of the old cluster store nothing, and drops no partition by old horizons', async () => {
    const { source, target, restore } = await clusters();
    await commit(source, 'a#1');
    await deliver(source, 'g');
    const lane = { group: 'g', lane: 0 };
    const name = laneLeaseName(lane);
    const attempt = await acquireLease(source, { name, holder: 'old', ttlMs: 60_000 });
    if (!attempt.acquired) throw new Error('no lease');
    await source.query(
      `insert into outbox.sealed_partition values (10000000, '1', now() - interval '1 year')`,
    );
    const { cursor } = (await loadCursor(source, lane))!;
    await restore();
    expect(await rebaseAfterRestore(target)).toBe(true);
    expect(await storeCursor(target, lane, { cursor, token: attempt.token, batch: 9, delivered: 0 })).toEqual(
      { advanced: false, reason: 'fenced' },
    );
    expect(await dropOldestPartition(target, { keepSeconds: 0 })).toEqual({ outcome: 'kept' });
    expect(await deliver(target, 'g')).toEqual([]);
  });
});

test('a log that stays where it is, or is cloned within its cluster, is left alone', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  onTestFinished(() => database.drop());
  expect(await rebaseAfterRestore(database.pool)).toBe(false);
  await commit(database.pool, 'a#1');
  expect(await rebaseAfterRestore(database.pool)).toBe(false);
});

test('a role that is no superuser can ask whether the log is another cluster’s', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  onTestFinished(() => database.drop());
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query('create role of_restore; grant usage on schema outbox to of_restore');
    await client.query('grant select on all tables in schema outbox to of_restore; set role of_restore');
    const { rows } = await client.query('select outbox.restored_elsewhere() as restored');
    expect(rows).toEqual([{ restored: false }]);
  } finally {
    await client.query('rollback');
    client.release();
  }
});

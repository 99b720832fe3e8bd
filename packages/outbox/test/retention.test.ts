import { acquireLease } from '@pulsebox/postgres';
import { createTemplate, createTestDatabase, eventually, startTemporaryServer } from '@pulsebox/test-support';
import type { TemporaryServer, TestDatabase } from '@pulsebox/test-support';
import type { PoolClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { makeRoom } from '../src/log/partitions.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { dropOldestPartition } from '../src/upkeep/retention.ts';
import type { RetentionOutcome } from '../src/upkeep/retention.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor, storeCursor } from '../src/lease/store-cursor.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

const SIZE = 10;

// A transaction of any database keeps what is younger than it, so those of other tests must not run on this server.
let server: TemporaryServer;
let database: TestDatabase;
const open: Writer[] = [];
const clients: PoolClient[] = [];

beforeAll(async () => {
  server = await startTemporaryServer({ fsync: 'off', autovacuum: 'off', max_prepared_transactions: '2' });
  await createTemplate(server.url);
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  database = await createTestDatabase(server.url);
  // Partitions of ten events in place of ten million.
  await database.pool.query(
    'drop table outbox.event_until_10000000, outbox.event_until_20000000, outbox.event_until_30000000',
  );
  await makeRoom(database.pool, SIZE);
});
afterEach(async () => {
  for (const writer of open.splice(0)) await writer.close();
  for (const client of clients.splice(0)) client.release(true);
  await database.drop();
});

async function writer(): Promise<Writer> {
  const one = await openWriter(database.pool);
  open.push(one);
  return one;
}

/** Commits events, and makes partitions ahead as housekeeping does. */
async function commit(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    await makeRoom(database.pool, SIZE);
    await emitAll(database.pool, [{ topic: 't', payload: n }], { autocommit: true });
  }
}

async function group(name: string): Promise<string> {
  await registerGroup(database.pool, name, 'beginning');
  return name;
}

/** Delivers at most so many batches, each stored. @returns payloads */
async function deliver(name: string, limit = 100, batches = 100): Promise<unknown[]> {
  const lane = { group: name, lane: 0 };
  const delivered: unknown[] = [];
  const lease = { name: laneLeaseName(lane), holder: 'test', ttlMs: 0 };
  const attempt = await acquireLease(database.pool, lease);
  if (!attempt.acquired) throw new Error('no lease');
  for (let batch = 1; batch <= batches; batch += 1) {
    const stored = (await loadCursor(database.pool, lane))!;
    const { events, next } = await readBatch(database.pool, stored.cursor, limit);
    if (events.length === 0) break;
    delivered.push(...events.map(({ payload }) => payload));
    await storeCursor(database.pool, lane, { cursor: next, token: attempt.token, batch, delivered: 0 });
  }
  return delivered;
}

async function drop(options: { keepSeconds?: number; pinnedBy?: string[] } = {}): Promise<RetentionOutcome> {
  return await dropOldestPartition(database.pool, { keepSeconds: 0, ...options });
}

const DROPPED: RetentionOutcome = { outcome: 'dropped', partition: 'outbox.event_until_10' };

test('a partition that every group has passed is dropped, the oldest first, and never the one in use', async () => {
  await group('a');
  await group('b');
  await commit(25);
  await deliver('a');
  await deliver('b');
  // Their cursors saw the log before the partitions were found to be full.
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: 'a' });
  await commit(1);
  await deliver('a');
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: 'b' });
  await deliver('b');
  expect(await drop()).toEqual(DROPPED);
  expect(await drop()).toEqual({ outcome: 'dropped', partition: 'outbox.event_until_20' });
  expect(await drop()).toEqual({ outcome: 'kept' });
  await commit(10);
  expect(await deliver('a')).toHaveLength(10);
});

test('what came while no worker ran is dropped like the rest, once the overflow was given an end', async () => {
  await database.pool.query('drop table outbox.event_overflow, outbox.event_until_10, outbox.event_until_20');
  await makeRoom(database.pool, SIZE);
  await group('a');
  await emitAll(
    database.pool,
    Array.from({ length: 35 }, (_, n) => ({ topic: 't', payload: n })),
    { autocommit: true },
  );
  expect(await deliver('a')).toHaveLength(35);
  const dropped: string[] = [];
  for (let n = 0; n < 12; n += 1) {
    await commit(1);
    await deliver('a');
    const result = await drop();
    if (result.outcome === 'dropped') dropped.push(result.partition);
  }
  expect(dropped).toEqual(['outbox.event_until_10', 'outbox.event_until_20', 'outbox.event_until_40']);
});

test('a partition is kept for as long as it is asked to be, and for good where no group is known', async () => {
  await commit(12);
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: null });
  await group('a');
  await deliver('a');
  expect(await drop({ keepSeconds: 3_600 })).toEqual({ outcome: 'kept' });
  await database.pool.query(`update outbox.sealed_partition set sealed_at = sealed_at - interval '2 hours'`);
  expect(await drop({ keepSeconds: 3_600 })).toEqual(DROPPED);
});

test('an open transaction with events in the partition keeps it, and they are delivered after their commit', async () => {
  await group('a');
  const late = await writer();
  await late.emit('late#1');
  await commit(15);
  await deliver('a');
  expect(await drop()).toEqual({ outcome: 'open' });
  await commit(1);
  await deliver('a');
  expect(await drop()).toEqual({ outcome: 'open' });
  await late.commit();
  // It has ended, but the cursor was stored while it had not.
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: 'a' });
  expect(await deliver('a')).toContain('late#1');
  expect(await drop()).toEqual(DROPPED);
});

test('a prepared transaction with events in the partition keeps it', async () => {
  await group('a');
  const late = await writer();
  await late.emit('late#1');
  await late.run(`prepare transaction 'retention'`);
  await commit(15);
  await deliver('a');
  expect(await drop()).toEqual({ outcome: 'open' });
  await late.run(`commit prepared 'retention'`);
  expect(await deliver('a')).toEqual(['late#1']);
  expect(await drop()).toEqual(DROPPED);
});

test('a group that pages through late events keeps the partition they are in', async () => {
  await group('a');
  const late = await writer();
  await late.emit('late#1', 'late#2', 'late#3', 'late#4', 'late#5');
  await commit(15);
  await deliver('a');
  await late.commit();
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: 'a' });
  expect(await deliver('a', 2, 1)).toEqual(['late#1', 'late#2']);
  expect(await drop()).toEqual({ outcome: 'behind', blockedBy: 'a' });
  expect(await deliver('a', 2)).toEqual(['late#3', 'late#4', 'late#5']);
  expect(await drop()).toEqual(DROPPED);
});

test('a reader with a cursor of its own pins the log with its lease', async () => {
  await group('a');
  await commit(12);
  await drop();
  await commit(1);
  await deliver('a');
  const lease = { name: 'search/reindex/items', holder: 'me', ttlMs: 60_000 };
  await acquireLease(database.pool, lease);
  expect(await drop({ pinnedBy: ['search/reindex/'] })).toEqual({
    outcome: 'pinned',
    blockedBy: 'search/reindex/items',
  });
  await database.pool.query(`update pulsebox.lease set expires_at = now() where name = $1`, [lease.name]);
  expect(await drop({ pinnedBy: ['search/reindex/'] })).toEqual(DROPPED);
});

test('a drop gives up, and lets producers through, while a transaction holds the log', async () => {
  await group('a');
  await commit(12);
  await drop();
  await commit(1);
  await deliver('a');
  // Uses the log, and has no xid: nothing but its lock is in the way.
  const report = await database.pool.connect();
  clients.push(report);
  await report.query('begin');
  await report.query('select count(*) from outbox.event');
  const dropping = drop();
  // They get through while the report is open: what they would wait for has given up.
  await commit(5);
  expect(await dropping).toEqual({ outcome: 'busy' });
  await report.query('commit');
  await eventually(async () => (await drop()).outcome === 'dropped');
});

test('a new group starts at the beginning of what is kept', async () => {
  await group('a');
  await commit(12);
  await drop();
  await commit(1);
  await deliver('a');
  expect(await drop()).toEqual(DROPPED);
  await group('b');
  expect((await loadCursor(database.pool, { group: 'b', lane: 0 }))?.cursor.position).toBe(9);
  expect(await deliver('b')).toHaveLength(4);
});

test('sealing refuses a transaction whose xid is older than the numbers it would seal', async () => {
  const client = await database.pool.connect();
  clients.push(client);
  await client.query('begin');
  await client.query('select pg_current_xact_id()');
  await expect(client.query('select outbox.seal_partitions()')).rejects.toThrow(/transaction of its own/);
});

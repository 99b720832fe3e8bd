import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import type { Cursor } from '../src/read/cursor.ts';
import { emitAll } from '../src/log/emit.ts';
import { groupStatus, LAG_COUNTED_EXACTLY } from '../src/group/group-status.ts';
import type { GroupStatus } from '../src/group/group-status.ts';
import { readBatch } from '../src/read/read-batch.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor, storeCursor } from '../src/lease/store-cursor.ts';
import { park } from './parked-rows.ts';
import { runRelay } from './relay-runner.ts';
import { openWriter } from './writer.ts';
import type { Writer } from './writer.ts';

let database: TestDatabase;
let writer: Writer | undefined;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await writer?.close();
  writer = undefined;
});
afterAll(async () => {
  await database.drop();
});

async function groupAtTheEnd(): Promise<string> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(database.pool, group, 'end');
  return group;
}

async function statusOf(group: string): Promise<GroupStatus> {
  const found = (await groupStatus(database.pool)).find((status) => status.group === group);
  if (found === undefined) throw new Error(`no status of ${group}`);
  return found;
}

async function commit(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => ({ topic: 'test.written', payload: 1 }));
  await emitAll(database.pool, events, { autocommit: true });
}

/** Reads one batch and stores the cursor behind it. */
async function deliver(group: string, limit: number): Promise<Cursor> {
  const lane = { group, lane: 0 };
  const stored = await loadCursor(database.pool, lane);
  if (stored === undefined) throw new Error('no cursor');
  const name = laneLeaseName(lane);
  const attempt = await acquireLease(database.pool, { name, holder: 'test', ttlMs: 0 });
  if (!attempt.acquired) throw new Error('no lease');
  const { next, events } = await readBatch(database.pool, stored.cursor, limit);
  const delivered = stored.delivered + events.length;
  await storeCursor(database.pool, lane, { cursor: next, token: attempt.token, batch: 1, delivered });
  return next;
}

test('counts new events, and the age of the oldest of them', async () => {
  const group = await groupAtTheEnd();
  expect(await statusOf(group)).toMatchObject({
    lane: 0,
    lag: 0,
    oldestAgeSeconds: 0,
    delivered: 0,
    holder: null,
  });
  await commit(3);
  await database.pool.query(
    `insert into outbox.event (topic, payload, created_at) values ('t', '1', clock_timestamp())`,
  );
  const behind = await statusOf(group);
  expect(behind.lag).toBe(4);
  expect(behind.oldestAgeSeconds).toBeGreaterThan(0);
  expect(behind.oldestAgeSeconds).toBeLessThan(60);
  await deliver(group, 10);
  expect(await statusOf(group)).toMatchObject({ lag: 0, oldestAgeSeconds: 0, delivered: 4 });
});

test('says how old the oldest undelivered event is by its own time', async () => {
  const group = await groupAtTheEnd();
  await database.pool.query(
    `insert into outbox.event (topic, payload, created_at) values ('t', '1', clock_timestamp() - interval '1 hour')`,
  );
  await commit(1);
  const { oldestAgeSeconds } = await statusOf(group);
  expect(oldestAgeSeconds).toBeGreaterThanOrEqual(3_600);
  expect(oldestAgeSeconds).toBeLessThan(3_660);
});

test('counts late events from their commit on, also where nothing new comes', async () => {
  const group = await groupAtTheEnd();
  writer = await openWriter(database.pool);
  await writer.emit('a#1', 'a#2', 'a#3');
  await commit(1);
  await deliver(group, 10);
  expect(await statusOf(group)).toMatchObject({ lag: 0, oldestAgeSeconds: 0 });
  await writer.commit();
  const late = await statusOf(group);
  expect(late.lag).toBe(3);
  expect(late.oldestAgeSeconds).toBeGreaterThan(0);
  await deliver(group, 2);
  expect(await statusOf(group)).toMatchObject({ lag: 1 });
  await deliver(group, 2);
  expect(await statusOf(group)).toMatchObject({ lag: 0 });
});

test('counts exactly up to a bound, and gives the distance to the end beyond it', async () => {
  const group = await groupAtTheEnd();
  await commit(LAG_COUNTED_EXACTLY - 1);
  expect((await statusOf(group)).lag).toBe(LAG_COUNTED_EXACTLY - 1);
  await commit(500);
  expect((await statusOf(group)).lag).toBe(LAG_COUNTED_EXACTLY + 499);
});

test('counts what is parked and what is dead, and says since when nobody looked', async () => {
  const [group, other] = [await groupAtTheEnd(), await groupAtTheEnd()];
  await park(
    database.pool,
    { group, position: 1, key: 'a', failedAgo: 3_600 },
    { group, position: 2, key: 'a', state: 'parked', failedAgo: null },
    { group, position: 3, failedAgo: 60 },
    { group, position: 4, state: 'parked', dueIn: 60 },
  );
  const status = await statusOf(group);
  expect(status).toMatchObject({ parked: 2, dead: 2 });
  expect(status.oldestDeadAgeSeconds).toBeGreaterThanOrEqual(3_600);
  expect(status.oldestDeadAgeSeconds).toBeLessThan(3_660);
  expect(await statusOf(other)).toMatchObject({ parked: 0, dead: 0, oldestDeadAgeSeconds: 0 });
});

test('counts each parked event in the lane of its key', async () => {
  const group = await groupAtTheEnd();
  await database.pool.query('update outbox.consumer_group set lanes = 3 where name = $1', [group]);
  await database.pool.query(
    `insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling)
     select group_name, lane.n, token, batch, position, snapshot, ceiling
     from outbox.cursor, generate_series(1, 2) lane(n) where group_name = $1`,
    [group],
  );
  // 0 to 8 have no key: their lane is that of their number.
  await park(
    database.pool,
    ...[3, 6, 1].map((position) => ({ group, position })),
    ...[5, 8].map((position) => ({ group, position, state: 'parked' as const })),
    ...[20, 21].map((position) => ({ group, position, key: 'item:1' })),
  );
  const lanes = (await groupStatus(database.pool)).filter((status) => status.group === group);
  const { rows } = await database.pool.query<{ lane: number }>(
    `select outbox.lane_of('item:1', 0, 3) as lane`,
  );
  const expected = [2, 1, 0].map((dead, lane) => dead + (rows[0]?.lane === lane ? 2 : 0));
  expect(lanes.map(({ lane, parked, dead }) => ({ lane, parked, dead }))).toEqual(
    expected.map((dead, lane) => ({ lane, parked: lane === 2 ? 2 : 0, dead })),
  );
});

test('names the holder while a lease runs, and nobody when its time is over', async () => {
  const one = runRelay({ pool: database.pool, startFrom: 'end', holder: 'host/1/x' });
  await eventually(async () => (await statusOf(one.group)).holder !== null);
  const held = await statusOf(one.group);
  expect(held).toMatchObject({ holder: 'host/1/x', fencingToken: 1 });
  expect(held.leaseSeconds).toBeGreaterThan(0);
  expect(held.leaseSeconds).toBeLessThanOrEqual(15);
  expect(Math.abs(Date.parse(held.storedAt) - Date.now())).toBeLessThan(60_000);
  await one.stop();
  expect(await statusOf(one.group)).toMatchObject({ holder: null, leaseSeconds: null });
});

test('lists every lane of every group, in order', async () => {
  const statuses = await groupStatus(database.pool);
  const names = statuses.map(({ group, lane }) => `${group}/${lane}`);
  expect(names).toEqual(names.toSorted());
  expect(new Set(names).size).toBe(names.length);
});

test('leaves the settings of its connection as they were, inside a transaction and outside', async () => {
  const client = await database.pool.connect();
  try {
    const jit = async (): Promise<unknown> =>
      (await client.query(`select current_setting('jit') as jit`)).rows;
    await client.query('set jit = on');
    expect((await groupStatus(client)).length).toBeGreaterThan(0);
    expect(await jit()).toEqual([{ jit: 'on' }]);
    await client.query('begin');
    expect((await groupStatus(client)).length).toBeGreaterThan(0);
    expect(client.getTransactionStatus()).toBe('T');
    await client.query('commit');
    expect(await jit()).toEqual([{ jit: 'on' }]);
  } finally {
    client.release(true);
  }
});

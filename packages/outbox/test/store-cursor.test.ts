import { acquireLease, releaseLease, renewLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import type { PoolClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import type { Cursor } from '../src/read/cursor.ts';
import { beginningOfLog } from '../src/read/cursor.ts';
import { emitAll } from '../src/log/emit.ts';
import { readBatch } from '../src/read/read-batch.ts';
import {
  LOAD_CURSOR,
  loadCursor,
  pruneCursors,
  STORE_CURSOR,
  storeCursor,
} from '../src/lease/store-cursor.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import type { LaneOfGroup } from '../src/lease/lane-of-group.ts';
import type { StoredCursor } from '../src/lease/store-cursor.ts';
import { planOf } from './plan.ts';

let database: TestDatabase;
let lane: LaneOfGroup;
let name: string;
const clients: PoolClient[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
beforeEach(async () => {
  lane = { group: `g-${crypto.randomUUID()}`, lane: 0 };
  name = laneLeaseName(lane);
  await registerGroup(database.pool, lane.group, 'beginning');
});
afterEach(async () => {
  for (const client of clients.splice(0)) {
    if (client.getTransactionStatus() !== 'I') await client.query('rollback');
    client.release();
  }
});
afterAll(async () => {
  await database.drop();
});

async function client(): Promise<PoolClient> {
  const one = await database.pool.connect();
  clients.push(one);
  return one;
}

async function acquire(holder: string, ttlMs = 60_000): Promise<number> {
  const attempt = await acquireLease(database.pool, { name, holder, ttlMs });
  if (!attempt.acquired) throw new Error(`held by ${attempt.heldBy}`);
  return attempt.token;
}

function at(position: number, token: number, batch: number): StoredCursor {
  return { cursor: { ...beginningOfLog, position }, token, batch, delivered: position };
}

async function inForce(): Promise<StoredCursor | undefined> {
  return await loadCursor(database.pool, lane);
}

/** Whether a statement of the session waits for a lock. */
async function waits(pid: number): Promise<boolean> {
  const { rows } = await database.pool.query<{ waits: boolean }>(
    'select cardinality(pg_blocking_pids($1)) > 0 as waits',
    [pid],
  );
  return rows[0]?.waits === true;
}

async function pidOf(one: PoolClient): Promise<number> {
  const { rows } = await one.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}

describe('progress', () => {
  test('is kept as it was stored, paging included', async () => {
    const token = await acquire('one');
    const cursor: Cursor = {
      position: 2 ** 40,
      snapshot: '7:99:8,12',
      ceiling: '18446744073709551615',
      frozen: { snapshot: '9:120:10', ceiling: '121', position: 77 },
    };
    const stored = { cursor, token, batch: 1, delivered: 3 };
    expect(await storeCursor(database.pool, lane, stored)).toEqual({ advanced: true });
    expect(await inForce()).toEqual(stored);
  });

  test('of the greatest batch under the greatest token is in force', async () => {
    const first = await acquire('one', 0);
    await storeCursor(database.pool, lane, at(900, first, 900));
    const second = await acquire('two');
    await storeCursor(database.pool, lane, at(901, second, 1));
    expect(await inForce()).toEqual(at(901, second, 1));
  });

  test('of a group that nobody registered is undefined', async () => {
    expect(await loadCursor(database.pool, { group: 'nobody', lane: 0 })).toBeUndefined();
  });

  test('stays when a group is registered again, from many places at once, elsewhere in the log', async () => {
    const token = await acquire('one');
    await storeCursor(database.pool, lane, at(5, token, 1));
    await Promise.all(Array.from({ length: 8 }, async () => registerGroup(database.pool, lane.group, 'end')));
    expect(await inForce()).toEqual(at(5, token, 1));
    const group = `g-${crypto.randomUUID()}`;
    await Promise.all(Array.from({ length: 8 }, async () => registerGroup(database.pool, group, 'end')));
    const { rows } = await database.pool.query(
      'select count(*)::int as n from outbox.cursor where group_name = $1',
      [group],
    );
    expect(rows).toEqual([{ n: 1 }]);
  });
});

describe('fencing', () => {
  test('a holder whose lease was taken over stores nothing', async () => {
    const first = await acquire('one', 0);
    await acquire('two');
    expect(await storeCursor(database.pool, lane, at(5, first, 1))).toEqual({
      advanced: false,
      reason: 'fenced',
    });
    expect((await inForce())?.cursor).toEqual(beginningOfLog);
  });

  test('a holder whose time is over may store for as long as nobody has taken over', async () => {
    const token = await acquire('one', 0);
    expect(await storeCursor(database.pool, lane, at(5, token, 1))).toEqual({ advanced: true });
  });

  test('a take-over waits for a store in flight, and reads what it stored', async () => {
    const first = await acquire('one', 0);
    const storing = await client();
    await storing.query('begin');
    await storeCursor(storing, lane, at(5, first, 1));
    const taking = await client();
    const pid = await pidOf(taking);
    const takeOver = acquireLease(taking, { name, holder: 'two', ttlMs: 1_000 });
    await eventually(async () => waits(pid));
    await storing.query('commit');
    expect(await takeOver).toEqual({ acquired: true, token: first + 1, tookOver: true });
    expect(await inForce()).toEqual(at(5, first, 1));
  });

  test('a store that waits for a take-over in flight stores nothing', async () => {
    const first = await acquire('one', 0);
    const taking = await client();
    await taking.query('begin');
    await acquireLease(taking, { name, holder: 'two', ttlMs: 60_000 });
    const storing = await client();
    const pid = await pidOf(storing);
    const store = storeCursor(storing, lane, at(5, first, 1));
    await eventually(async () => waits(pid));
    await taking.query('commit');
    expect(await store).toEqual({ advanced: false, reason: 'fenced' });
    expect((await inForce())?.cursor).toEqual(beginningOfLog);
  });

  test('a renewal in flight delays a store and does not fence it', async () => {
    const token = await acquire('one');
    const renewing = await client();
    await renewing.query('begin');
    await renewLease(renewing, { name, token, ttlMs: 60_000 });
    const storing = await client();
    const pid = await pidOf(storing);
    const store = storeCursor(storing, lane, at(5, token, 1));
    await eventually(async () => waits(pid));
    await renewing.query('commit');
    expect(await store).toEqual({ advanced: true });
  });

  test('nothing is stored for a lane whose lease was never acquired', async () => {
    expect(await storeCursor(database.pool, lane, at(5, 0, 1))).toEqual({
      advanced: false,
      reason: 'fenced',
    });
    await releaseLease(database.pool, { name, token: 0 });
  });
});

describe('pruning', () => {
  test('removes what is obsolete in its lane, and never the cursor in force', async () => {
    const token = await acquire('one');
    const other = { group: `g-${crypto.randomUUID()}`, lane: 0 };
    await registerGroup(database.pool, other.group, 'beginning');
    for (let batch = 1; batch <= 5; batch += 1)
      await storeCursor(database.pool, lane, at(batch, token, batch));
    await pruneCursors(database.pool, lane, at(4, token, 4));
    const { rows } = await database.pool.query<{ batch: number }>(
      'select batch::int as batch from outbox.cursor where group_name = $1 order by batch',
      [lane.group],
    );
    expect(rows).toEqual([{ batch: 4 }, { batch: 5 }]);
    expect(await inForce()).toEqual(at(5, token, 5));
    expect(await loadCursor(database.pool, other)).toBeDefined();
  });
});

describe('under a snapshot that is held open, as by an hour-long report', () => {
  test('reading and storing the cursor look at as many pages after 5,000 batches as after ten', async () => {
    const report = await client();
    await report.query('begin isolation level repeatable read');
    await report.query('select count(*) from outbox.cursor');
    const token = await acquire('one');
    const pages = async (batch: number): Promise<{ load: number; store: number }> => {
      const load = await planOf(database.pool, LOAD_CURSOR, [lane.group, lane.lane]);
      const parameters = [lane.group, 0, token, batch, 1, '1:1:', '1', null, null, null, 1, name];
      const store = await planOf(database.pool, STORE_CURSOR, parameters);
      expect(load.indexes).toEqual(['cursor_pkey']);
      return { load: load.pages, store: store.pages };
    };
    let batch = 0;
    const deliver = async (batches: number): Promise<void> => {
      for (let n = 0; n < batches; n += 1) {
        batch += 1;
        const stored = at(batch, token, batch);
        await storeCursor(database.pool, lane, stored);
        if (batch % 200 === 1) await pruneCursors(database.pool, lane, stored);
      }
    };
    await deliver(10);
    const early = await pages((batch += 1));
    await deliver(5_000);
    const late = await pages((batch += 1));
    expect(late.load).toBeLessThanOrEqual(early.load + 2);
    expect(late.store).toBeLessThanOrEqual(early.store + 10);
    expect((await inForce())?.batch).toBe(batch);
  });

  test('storing stays affordable after a thousand renewals of the lease', async () => {
    const report = await client();
    await report.query('begin isolation level repeatable read');
    await report.query('select count(*) from pulsebox.lease');
    const token = await acquire('one');
    // A renewal every five seconds: an hour and a half.
    for (let n = 0; n < 1_000; n += 1) await renewLease(database.pool, { name, token, ttlMs: 15_000 });
    const parameters = [lane.group, 0, token, 1, 1, '1:1:', '1', null, null, null, 1, name];
    const plan = await planOf(database.pool, STORE_CURSOR, parameters);
    expect(plan.pages).toBeLessThan(200);
  });
});

test('delivery leaves no dead row on the event tables', async () => {
  const events = Array.from({ length: 500 }, (_, n) => ({
    topic: 'test.written',
    key: `k${n % 9}`,
    payload: n,
  }));
  await emitAll(database.pool, events, { autocommit: true });
  const token = await acquire('one');
  let cursor: Cursor = beginningOfLog;
  for (let batch = 1; ; batch += 1) {
    const read = await readBatch(database.pool, cursor, 20);
    if (read.events.length === 0) break;
    cursor = read.next;
    await storeCursor(database.pool, lane, { cursor, token, batch, delivered: batch * 20 });
  }
  await database.pool.query('select pg_stat_force_next_flush()');
  const { rows } = await database.pool.query<{ dead: number; changed: number }>(
    `select sum(n_dead_tup)::int as dead, sum(n_tup_upd + n_tup_del)::int as changed
     from pg_stat_user_tables where schemaname = 'outbox' and relname like 'event%'`,
  );
  expect(rows).toEqual([{ dead: 0, changed: 0 }]);
});

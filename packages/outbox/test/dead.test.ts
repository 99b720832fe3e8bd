import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { discardDead } from '../src/dead/dead-discard.ts';
import { parseDeadId } from '../src/dead/dead-id.ts';
import { listDead, WAITING_COUNTED_EXACTLY } from '../src/dead/dead-list.ts';
import type { DeadListOptions } from '../src/dead/dead-list.ts';
import { replayDead } from '../src/dead/dead-replay.ts';
import { CHUNK_ROWS } from '../src/dead/dead-selection.ts';
import { showDead } from '../src/dead/dead-show.ts';
import { park } from './parked-rows.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, 'search', 'beginning');
  await registerGroup(database.pool, 'push', 'beginning');
});
beforeEach(async () => {
  await database.pool.query('truncate outbox.parked');
  await database.pool.query('truncate pulsebox.lease');
});
afterAll(async () => {
  await database.drop();
});

async function ids(options: DeadListOptions = {}): Promise<string[]> {
  return (await listDead(database.pool, options)).events.map(({ id }) => id);
}

interface Row {
  readonly position: number;
  readonly state: string;
  readonly attempts: number;
  readonly due: boolean;
}

async function rowsOf(group: string): Promise<Row[]> {
  const { rows } = await database.pool.query<Row>(
    `select position::int, state, attempts, coalesce(next_attempt_at <= clock_timestamp(), false) as due
     from outbox.parked where group_name = $1 order by position`,
    [group],
  );
  return rows;
}

async function holdLane(group: string): Promise<void> {
  const name = `outbox/${group}/0`;
  const attempt = await acquireLease(database.pool, { name, holder: 'reader', ttlMs: 60_000 });
  if (!attempt.acquired) throw new Error('no lease');
}

describe('list', () => {
  test('shows dead letters of all groups, the one that failed last first, with what people ask first', async () => {
    await park(
      database.pool,
      { group: 'search', position: 3, failedAgo: 300 },
      {
        group: 'push',
        position: 2,
        key: 'user:1',
        topic: 'push.requested',
        reasons: ['first', `410 Gone\nat somewhere`],
        failedAgo: 10,
      },
      { group: 'search', position: 9, state: 'parked' },
    );
    const { events, next } = await listDead(database.pool);
    expect(next).toBeNull();
    expect(events).toEqual([
      {
        id: 'push/2',
        group: 'push',
        position: 2,
        topic: 'push.requested',
        key: 'user:1',
        state: 'dead',
        attempts: 5,
        reason: '410 Gone',
        failedAt: expect.stringMatching(/^2\d{3}-\d\d-\d\dT[\d:.]+Z$/),
        parkedAt: expect.stringMatching(/Z$/),
        nextAttemptAt: null,
        waiting: 0,
      },
      expect.objectContaining({ id: 'search/3', key: null }),
    ]);
    expect(await ids({ first: 'oldest' })).toEqual(['search/3', 'push/2']);
    expect(await ids({ state: 'parked' })).toEqual(['search/9']);
  });

  test('filters by group, topic, key, age and id, and by all of them together', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, key: 'item:1', failedAgo: 7_200 },
      { group: 'search', position: 2, key: 'item:2', topic: 'file.upserted', failedAgo: 60 },
      { group: 'push', position: 1, key: 'item:1', failedAgo: 60 },
    );
    const filtered = (filter: DeadListOptions['filter'] = {}): Promise<string[]> =>
      ids({ filter, first: 'oldest' });
    expect(await filtered({ group: 'push' })).toEqual(['push/1']);
    expect(await filtered({ topic: 'file.upserted' })).toEqual(['search/2']);
    expect((await filtered({ key: 'item:1' })).toSorted()).toEqual(['push/1', 'search/1']);
    expect(await filtered({ olderThanSeconds: 3_600 })).toEqual(['search/1']);
    expect((await filtered({ newerThanSeconds: 3_600 })).toSorted()).toEqual(['push/1', 'search/2']);
    expect(await filtered({ olderThanSeconds: 30, newerThanSeconds: 3_600, group: 'search' })).toEqual([
      'search/2',
    ]);
    // Of two ids the group of the one and the position of the other are no third one.
    expect(await filtered({ ids: ['search/2', 'push/1'].map(parseDeadId) })).toHaveLength(2);
    expect(await filtered({ ids: ['search/1', 'push/2'].map(parseDeadId) })).toEqual(['search/1']);
    expect(await filtered({ ids: [] })).toEqual([]);
  });

  test('an event that never failed is as old as its parking', async () => {
    await park(database.pool, { group: 'search', position: 1, state: 'parked', failedAgo: null });
    expect(await ids({ state: 'parked', filter: { newerThanSeconds: 60 } })).toEqual(['search/1']);
    expect(await ids({ state: 'parked', filter: { olderThanSeconds: 60 } })).toEqual([]);
  });

  test.each(['newest', 'oldest'] as const)('pages through all of them once, %s first', async (first) => {
    // Some of the same moment: group and position decide then.
    for (let position = 1; position <= 12; position += 1)
      await park(database.pool, {
        group: position % 2 === 0 ? 'push' : 'search',
        position,
        failedAgo: Math.floor(position / 4) * 100,
      });
    await database.pool.query(`update outbox.parked set failed_at = date_trunc('hour', failed_at)`);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await listDead(database.pool, { first, limit: 5, ...(cursor === null ? {} : { cursor }) });
      seen.push(...page.events.map(({ id }) => id));
      cursor = page.next;
      // What is gone meanwhile does not lead the next page astray.
      await database.pool.query(`delete from outbox.parked where group_name || '/' || position = $1`, [
        page.events.at(-1)?.id,
      ]);
    } while (cursor !== null);
    expect(seen).toHaveLength(12);
    expect(new Set(seen).size).toBe(12);
  });

  test('counts what waits behind a dead letter, and not what is tried by itself', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, key: 'a' },
      { group: 'search', position: 2, key: 'a', state: 'parked', failedAgo: null },
      { group: 'search', position: 3, key: 'a', state: 'parked', failedAgo: null },
      { group: 'search', position: 4, key: 'b', state: 'parked', failedAgo: null },
      { group: 'push', position: 5, key: 'a', state: 'parked', failedAgo: null },
      // A group without order: it has a time of its own.
      { group: 'search', position: 6, key: 'a', state: 'parked', dueIn: 60 },
      { group: 'search', position: 7 },
      { group: 'search', position: 8, state: 'parked', dueIn: 60 },
    );
    const { events } = await listDead(database.pool, { first: 'oldest' });
    expect(events.map(({ position, waiting }) => [position, waiting])).toEqual([
      [1, 2],
      [7, 0],
    ]);
    await database.pool.query(
      `insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at)
       select 'search', 100 + n, 't', 'a', '1', '{}', now() from generate_series(1, $1::int + 5) n`,
      [WAITING_COUNTED_EXACTLY],
    );
    expect((await showDead(database.pool, { group: 'search', position: 1 })).waiting).toBe(
      WAITING_COUNTED_EXACTLY,
    );
  });

  test.each<[DeadListOptions, string, string]>([
    [{ limit: 0 }, 'OUTBOX_FILTER_INVALID', 'a limit from 1 to 1,000, got 0'],
    [{ cursor: 'x' }, 'OUTBOX_FILTER_INVALID', 'as the cursor, got "x"'],
    [{ filter: { olderThanSeconds: -1 } }, 'OUTBOX_FILTER_INVALID', 'olderThanSeconds'],
    [
      { filter: { olderThanSeconds: 9, newerThanSeconds: 5 } },
      'OUTBOX_FILTER_INVALID',
      'older than 9 s and newer than 5 s',
    ],
    [{ filter: { ids: [{ group: 'search', position: 0.5 }] } }, 'OUTBOX_FILTER_INVALID', 'got "search/0.5"'],
    [{ filter: { group: 'nobody' } }, 'OUTBOX_GROUP_UNKNOWN', 'no consumer group "nobody"'],
    [
      { filter: { ids: [{ group: 'nobody', position: 1 }] } },
      'OUTBOX_GROUP_UNKNOWN',
      'no consumer group "nobody"',
    ],
  ])('refuses %j', async (options, code, said) => {
    await expect(listDead(database.pool, options)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(said),
    });
  });
});

test('an id is a group and a position', () => {
  expect(parseDeadId('mail-sync/1042')).toEqual({ group: 'mail-sync', position: 1042 });
  for (const text of [
    '',
    '1042',
    'search',
    'search/',
    'search/0',
    'Search/1',
    'search/1/2',
    'search/9999999999999999',
  ])
    expect(() => parseDeadId(text)).toThrow('expected the id of an event');
});

test('show has the payload digit for digit, the headers, and every error', async () => {
  await park(database.pool, {
    group: 'search',
    position: 7,
    key: 'item:7',
    payload: '{"id": 12345678901234567890, "price": 1.10}',
    reasons: ['one', 'two\nwith a second line'],
  });
  expect(await showDead(database.pool, { group: 'search', position: 7 })).toMatchObject({
    id: 'search/7',
    payloadJson: '{"id": 12345678901234567890, "price": 1.10}',
    headers: { by: 'anna' },
    reason: 'two',
    createdAt: expect.stringMatching(/Z$/),
    attemptingSince: null,
    errors: [
      { at: '2026-01-01T00:00:00.000Z', attempt: 1, reason: 'one', retryable: true },
      { at: '2026-01-01T00:01:00.000Z', attempt: 2, reason: 'two\nwith a second line', retryable: true },
    ],
  });
  await expect(showDead(database.pool, { group: 'search', position: 8 })).rejects.toMatchObject({
    code: 'OUTBOX_EVENT_NOT_PARKED',
  });
});

describe('replay', () => {
  test('makes dead letters due from the first attempt on, keeps their history, and touches nothing else', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, key: 'a' },
      { group: 'search', position: 2, key: 'b' },
      { group: 'search', position: 3, key: 'a' },
      { group: 'search', position: 4, key: 'a', state: 'parked', failedAgo: null },
      { group: 'search', position: 5 },
      { group: 'search', position: 6 },
    );
    expect(await replayDead(database.pool, { filter: { group: 'search' } })).toEqual({
      dryRun: false,
      replayed: 5,
      underWay: 1,
      missing: [],
      groups: [{ group: 'search', replayed: 5, underWay: 1 }],
    });
    expect(await rowsOf('search')).toEqual(
      [true, true, true, false, true, true].map((due, n) => ({
        position: n + 1,
        state: 'parked',
        attempts: 0,
        due,
      })),
    );
    expect((await showDead(database.pool, { group: 'search', position: 1 })).errors).toHaveLength(1);
  });

  test('repeated, changes nothing and says that it is under way', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, key: 'a' },
      { group: 'search', position: 2, state: 'parked', attempts: 3, dueIn: 60 },
    );
    const filter = { ids: ['search/1', 'search/2', 'search/3'].map(parseDeadId) };
    expect(await replayDead(database.pool, { filter })).toMatchObject({
      replayed: 1,
      underWay: 1,
      missing: ['search/3'],
    });
    const { rows: before } = await database.pool.query('select * from outbox.parked order by position');
    expect(await replayDead(database.pool, { filter })).toMatchObject({ replayed: 0, underWay: 2 });
    const { rows: after } = await database.pool.query('select * from outbox.parked order by position');
    expect(after).toEqual(before);
  });

  test('goes through more than a chunk of several groups, and a dry run counts the same', async () => {
    const many = 2 * CHUNK_ROWS + 7;
    for (const group of ['search', 'push'])
      await database.pool.query(
        `insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at, state, failed_at)
         select $1, n, 't', 'k' || n % 10, '1', '{}', now(), 'dead', now() from generate_series(1, $2::int) n`,
        [group, many],
      );
    const dry = await replayDead(database.pool, { filter: {}, dryRun: true });
    expect(dry).toMatchObject({ dryRun: true, replayed: 2 * many, underWay: 0 });
    expect((await ids({ limit: 1_000 })).length).toBe(1_000);
    const done = await replayDead(database.pool, { filter: {} });
    expect(done).toEqual({ ...dry, dryRun: false });
    const rows = await rowsOf('search');
    expect(rows.every(({ state, due }) => state === 'parked' && due)).toBe(true);
  });

  test('waits for a reader that stores its progress', async () => {
    await park(database.pool, { group: 'search', position: 1 });
    await holdLane('search');
    const reader = await database.pool.connect();
    try {
      await reader.query('begin');
      await reader.query(`select from pulsebox.lease where name = 'outbox/search/0' for share`);
      const replaying = replayDead(database.pool, { filter: {} });
      await eventually(async () => (await waitingForLocks()) > 0);
      await reader.query('commit');
      expect(await replaying).toMatchObject({ replayed: 1 });
    } finally {
      reader.release();
    }
  });

  test('wakes readers that sleep', async () => {
    await park(database.pool, { group: 'search', position: 1 });
    await database.pool.query(
      `select setval('outbox.sleeping_until', (extract(epoch from now() + interval '1 hour') * 1000)::bigint)`,
    );
    const listener = await database.pool.connect();
    try {
      await listener.query('listen outbox_event');
      const woken = new Promise((resolve) => void listener.once('notification', resolve));
      await replayDead(database.pool, { filter: { group: 'search' } });
      await woken;
      await listener.query('unlisten *');
    } finally {
      listener.release();
    }
  });
});

async function waitingForLocks(): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>(
    `select count(*)::int as n from pg_locks l join pg_stat_activity a using (pid)
     where not l.granted and a.datname = current_database()`,
  );
  return rows[0]?.n ?? 0;
}

describe('discard', () => {
  test('removes dead letters, and what waited behind becomes due', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, key: 'a' },
      { group: 'search', position: 2, key: 'a', state: 'parked', failedAgo: null },
      { group: 'search', position: 3, key: 'a', state: 'parked', failedAgo: null },
      { group: 'search', position: 4, key: 'b', state: 'parked', dueIn: 60 },
    );
    const dry = await discardDead(database.pool, { filter: { group: 'search' }, dryRun: true });
    expect(dry).toEqual({
      dryRun: true,
      discarded: 1,
      underWay: 0,
      otherState: 3,
      missing: [],
      groups: [{ group: 'search', discarded: 1, underWay: 0 }],
    });
    expect(await discardDead(database.pool, { filter: { group: 'search' } })).toEqual({
      ...dry,
      dryRun: false,
    });
    expect(await rowsOf('search')).toMatchObject([
      { position: 2, due: true },
      { position: 3, due: false },
      { position: 4, due: false },
    ]);
    expect(await discardDead(database.pool, { filter: { group: 'search' } })).toMatchObject({ discarded: 0 });
  });

  test('keeps what the handler has at this moment, and removes what a dead worker left', async () => {
    await park(
      database.pool,
      { group: 'search', position: 1, state: 'parked', attempting: true },
      { group: 'search', position: 2, state: 'parked', dueIn: 60 },
    );
    await holdLane('search');
    const report = { discarded: 1, underWay: 1, otherState: 0 };
    const options = { filter: { group: 'search' }, state: 'parked' } as const;
    expect(await discardDead(database.pool, { ...options, dryRun: true })).toMatchObject(report);
    expect(await discardDead(database.pool, options)).toMatchObject(report);
    expect(await rowsOf('search')).toMatchObject([{ position: 1 }]);
    await database.pool.query(`update pulsebox.lease set expires_at = now()`);
    expect(await discardDead(database.pool, options)).toMatchObject({ discarded: 1, underWay: 0 });
    expect(await rowsOf('search')).toEqual([]);
  });

  test('passes over an attempt that begins while it waits', async () => {
    await park(database.pool, { group: 'search', position: 1, state: 'parked', dueIn: -1 });
    await holdLane('search');
    const reader = await database.pool.connect();
    try {
      await reader.query('begin');
      await reader.query(`update outbox.parked set attempting_since = clock_timestamp()`);
      const options = { filter: { group: 'search' }, state: 'parked' } as const;
      const discarding = discardDead(database.pool, options);
      await eventually(async () => (await waitingForLocks()) > 0);
      await reader.query('commit');
      expect(await discarding).toMatchObject({ discarded: 0 });
    } finally {
      reader.release();
    }
    expect(await rowsOf('search')).toHaveLength(1);
  });

  test('goes through more than a chunk', async () => {
    await database.pool.query(
      `insert into outbox.parked (group_name, position, topic, payload, headers, created_at, state, failed_at)
       select 'search', n, 't', '1', '{}', now(), 'dead', now() from generate_series(1, $1::int) n`,
      [CHUNK_ROWS + 1],
    );
    const filter = { olderThanSeconds: 0 };
    expect(await discardDead(database.pool, { filter })).toMatchObject({ discarded: CHUNK_ROWS + 1 });
    expect(await rowsOf('search')).toEqual([]);
  });
});

// Replays and discards while a relay reads the group.

import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { discardDead } from '../src/dead/dead-discard.ts';
import { listDead } from '../src/dead/dead-list.ts';
import { replayDead } from '../src/dead/dead-replay.ts';
import { emit } from '../src/log/emit.ts';
import { claimParked } from '../src/parked/redrive-claim.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { lookAtDue } from '../src/parked/redrive-due.ts';
import { labelOf } from './log-reader.ts';
import { park } from './parked-rows.ts';
import { runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

let database: TestDatabase;
let running: RunningRelay | undefined;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
});
afterAll(async () => {
  await database.drop();
});

interface Sink {
  readonly relay: RunningRelay;
  /** What it took, as `key#n`, in order. */
  readonly taken: readonly string[];
  /** It takes everything from now on. */
  mend(): void;
}

/** A relay to a sink that refuses events whose label is in the list, for good, until it is mended. */
function relayTo(refused: readonly string[], options: Partial<RunOptions> = {}): Sink {
  const taken: string[] = [];
  let broken = true;
  const relay = runRelay({
    pool: database.pool,
    startFrom: 'end',
    ...options,
    handler: (_labels, { events }) => {
      const failed = events.filter((event) => broken && refused.includes(labelOf(event)));
      // As a handler has to: after one of a key that it reports, it passes over the later ones.
      const blocked = new Set(options.order === 'none' ? [] : failed.map(({ key }) => key));
      taken.push(
        ...events
          .filter((event) => !failed.includes(event) && !blocked.has(event.key))
          .map((event) => labelOf(event)),
      );
      return {
        failed: failed.map(({ position }) => ({ position, reason: 'refused', retryable: false })),
      };
    },
  });
  running = relay;
  return { relay, taken, mend: () => (broken = false) };
}

async function write(...labels: readonly string[]): Promise<void> {
  for (const label of labels) {
    const event = { topic: 't', key: label.split('#')[0] ?? '', payload: label };
    await emit(database.pool, event, { autocommit: true });
  }
}

async function deadOf(group: string): Promise<{ position: number; waiting: number }[]> {
  const { events } = await listDead(database.pool, { filter: { group }, first: 'oldest' });
  return events.map(({ position, waiting }) => ({ position, waiting }));
}

async function registered(group: string): Promise<void> {
  await eventually(async () => {
    const { rows } = await database.pool.query('select from outbox.consumer_group where name = $1', [group]);
    return rows.length === 1;
  });
}

test('a replayed dead letter is delivered, and then what waited behind it, in the order of its key', async () => {
  const { relay, taken, mend } = relayTo(['a#1']);
  const { group } = relay;
  await registered(group);
  await write('a#1', 'b#1', 'a#2', 'a#3');
  await eventually(async () => (await deadOf(group))[0]?.waiting === 2);
  expect(taken).toEqual(['b#1']);
  // Replayed too early, it is a dead letter again, and nothing has overtaken it.
  expect(await replayDead(database.pool, { filter: { group } })).toMatchObject({ replayed: 1, underWay: 2 });
  await eventually(async () => (await deadOf(group))[0]?.waiting === 2);
  expect(taken).toEqual(['b#1']);
  mend();
  await replayDead(database.pool, { filter: { group } });
  await eventually(() => taken.length === 4);
  expect(taken).toEqual(['b#1', 'a#1', 'a#2', 'a#3']);
  expect(await deadOf(group)).toEqual([]);
});

test('behind a discarded dead letter the key goes on without it', async () => {
  const { relay, taken } = relayTo(['a#1']);
  const { group } = relay;
  await registered(group);
  await write('a#1', 'a#2', 'a#3');
  await eventually(async () => (await deadOf(group))[0]?.waiting === 2);
  expect(await discardDead(database.pool, { filter: { group } })).toMatchObject({ discarded: 1 });
  await eventually(() => taken.length === 2);
  await write('a#4');
  await eventually(() => taken.length === 3);
  expect(taken).toEqual(['a#2', 'a#3', 'a#4']);
});

test('all dead letters of a key, replayed at once, are delivered in order', async () => {
  const group = 'ordered';
  await registerGroup(database.pool, group, 'end');
  await park(database.pool, ...[3, 1, 2].map((n) => ({ group, position: n, key: 'a', payload: `"a#${n}"` })));
  const { taken } = relayTo([], { group });
  await replayDead(database.pool, { filter: { group } });
  await eventually(() => taken.length === 3);
  expect(taken).toEqual(['a#1', 'a#2', 'a#3']);
});

test('in a group without order, one is replayed past an earlier dead letter of its key', async () => {
  const { relay, taken, mend } = relayTo(['a#1', 'a#2'], { order: 'none' });
  const { group } = relay;
  await registered(group);
  await write('a#1', 'a#2', 'a#3');
  await eventually(async () => (await deadOf(group)).length === 2 && taken.length === 1);
  expect(taken).toEqual(['a#3']);
  mend();
  const [, second] = await deadOf(group);
  await replayDead(database.pool, { filter: { ids: [{ group, position: second?.position ?? 0 }] } });
  await eventually(() => taken.length === 2);
  expect(taken).toEqual(['a#3', 'a#2']);
  expect(await deadOf(group)).toHaveLength(1);
});

/** For a lock, in this database: the server is shared with other tests. */
async function somebodyWaits(): Promise<boolean> {
  const { rows } = await database.pool.query(
    `select from pg_locks l join pg_stat_activity a using (pid)
     where not l.granted and a.datname = current_database()`,
  );
  return rows.length > 0;
}

test('a reader that an operator keeps waiting has locked no event meanwhile, or the two would deadlock', async () => {
  const group = 'locked';
  await registerGroup(database.pool, group, 'end');
  await park(database.pool, { group, position: 1, state: 'parked', dueIn: -1 });
  const name = `outbox/${group}/0`;
  const lease = await acquireLease(database.pool, { name, holder: 'reader', ttlMs: 60_000 });
  if (!lease.acquired) throw new Error('no lease');
  const operator = await database.pool.connect();
  try {
    await operator.query('begin');
    await operator.query('select from pulsebox.lease where name = $1 for no key update', [name]);
    const claiming = claimParked(
      database.pool,
      { group, lane: 0, token: lease.token },
      { positions: [1], mostCharacters: 1_000 },
    );
    await eventually(somebodyWaits);
    const { rowCount } = await operator.query(
      'select from outbox.parked where group_name = $1 for update skip locked',
      [group],
    );
    expect(rowCount).toBe(1);
    await operator.query('commit');
    expect((await claiming).claimed).toHaveLength(1);
  } finally {
    operator.release();
  }
});

test('a bulk command that waits for a change of lanes has locked no lane meanwhile, or the two would deadlock', async () => {
  const group = 'changing';
  await registerGroup(database.pool, group, 'end');
  await resizeGroup({ pool: database.pool, group, lanes: 3, holder: 'operator' });
  await park(database.pool, { group, position: 1, key: 'a' });
  const changing = await database.pool.connect();
  try {
    await changing.query('begin');
    await changing.query('select outbox.lock_group($1)', [group]);
    const replaying = replayDead(database.pool, { filter: { group } });
    await eventually(somebodyWaits);
    // As the function does that gives a group its lanes; in any order.
    await changing.query(`set local lock_timeout = '5s'`);
    const { rowCount } = await changing.query(
      `update pulsebox.lease set token = token + 1 where starts_with(name, 'outbox/changing/')`,
    );
    expect(rowCount).toBeGreaterThan(0);
    await changing.query('commit');
    expect(await replaying).toMatchObject({ replayed: 1 });
  } finally {
    // Nothing after the commit; all of it if the test has failed before.
    await changing.query('rollback');
    changing.release();
  }
});

test('what stands behind an event that is being discarded stays on the schedule', async () => {
  const group = 'unscheduled';
  await registerGroup(database.pool, group, 'end');
  await park(
    database.pool,
    { group, position: 1, key: 'a' },
    { group, position: 2, key: 'a', state: 'parked', dueIn: -1 },
    { group, position: 3, key: 'b' },
    { group, position: 4, key: 'b', state: 'parked', dueIn: -1 },
  );
  const name = laneLeaseName({ group, lane: 0 });
  const lease = await acquireLease(database.pool, { name, holder: 'test', ttlMs: 600_000 });
  if (!lease.acquired) throw new Error('not taken');
  const operator = await database.pool.connect();
  try {
    await operator.query('begin');
    await operator.query('delete from outbox.parked where group_name = $1 and position = 1', [group]);
    const held = { group, lane: 0, token: lease.token };
    const looking = lookAtDue(database.pool, held, { order: 'key', limit: 10 });
    await eventually(somebodyWaits);
    await operator.query('commit');
    await looking;
  } finally {
    operator.release();
  }
  const { rows } = await database.pool.query(
    `select position::int, next_attempt_at is not null as scheduled from outbox.parked
     where group_name = $1 and state = 'parked' order by position`,
    [group],
  );
  expect(rows).toEqual([
    { position: 2, scheduled: true },
    { position: 4, scheduled: false },
  ]);
});

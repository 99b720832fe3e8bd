import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { finishResize } from '../src/group/finish-resize.ts';
import { groupStatus } from '../src/group/group-status.ts';
import { openLaneSession } from '../src/lane/lane-session.ts';
import type { LaneSession } from '../src/lane/lane-session.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import type { ResizeProgress, ResizeReport } from '../src/group/resize-group.ts';
import { rebaseAfterRestore } from '../src/log/restore.ts';
import { dropOldestPartition } from '../src/upkeep/retention.ts';
import { retireGroup } from '../src/group/retire-group.ts';
import { seekGroup } from '../src/group/seek-group.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { faults } from './interleaving.ts';
import { labelOf } from './log-reader.ts';
import { runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';
import { openWriter } from './writer.ts';

const group = 'g';
let database: TestDatabase;
let delivered: string[];
let labels: string[];
const running: RunningRelay[] = [];
const sessions: LaneSession[] = [];

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, group, 'beginning');
  delivered = [];
  labels = [];
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await Promise.all(sessions.splice(0).map((one) => one.close()));
  await database.drop();
});

async function write(count = 60, keys = 11): Promise<void> {
  const from = labels.length;
  const more = Array.from({ length: count }, (_, n) => `k${(from + n) % keys}#${from + n + 1}`);
  const events = more.map((label) => ({ topic: 't.e', key: label.split('#')[0]!, payload: label }));
  await emitAll(database.pool, events, { autocommit: true });
  labels.push(...more);
}

function start(options: Partial<RunOptions> = {}): RunningRelay {
  const one = runRelay({
    pool: database.pool,
    group,
    leaseTtlMs: 900,
    batchSize: 4,
    handler: (batch) => {
      delivered.push(...batch);
    },
    ...options,
  });
  running.push(one);
  return one;
}

async function resize(lanes: number, wait = true): Promise<ResizeReport> {
  return await resizeGroup({
    pool: database.pool,
    group,
    lanes,
    holder: 'operator',
    timeoutMs: 10_000,
    ...(wait ? {} : { signal: AbortSignal.abort() }),
  });
}

async function open(lane: number): Promise<LaneSession> {
  const opened = await openLaneSession(
    {
      db: database.pool,
      lane: { group, lane },
      holder: 'reader',
      leaseTtlMs: 600_000,
      batchSize: 4,
      batchCharacters: 1_000_000,
    },
    {},
  );
  if (!opened.opened) throw new Error(`lane ${lane} is not to be had`);
  sessions.push(opened.session);
  return opened.session;
}

/** Delivers so many batches of a lane, and gives it back. */
async function readLane(lane: number, batches: number): Promise<void> {
  const session = await open(lane);
  for (let n = 0; n < batches; n += 1) {
    const batch = await session.current();
    delivered.push(...batch.events.map(labelOf));
    await session.advance(batch, []);
  }
  await session.close();
}

/** Three lanes that have come to different places, and a barrier on the way to `lanes`. */
async function withBarrier(lanes: number): Promise<void> {
  await resize(3);
  await write();
  await readLane(0, 1);
  await readLane(1, 3);
  expect(await resize(lanes, false)).toEqual({ group, from: 3, lanes, outcome: 'pending' });
  await write();
}

async function lanesOf(): Promise<number> {
  return (await groupStatus(database.pool)).length;
}

async function allDelivered(): Promise<void> {
  await eventually(() => new Set(delivered).size === labels.length);
}

describe('a barrier', () => {
  test('is reached by workers that come later, and lanes that had nothing before it are there already', async () => {
    await withBarrier(5);
    const progress: ResizeProgress[] = [];
    const waiting = resizeGroup({
      pool: database.pool,
      group,
      lanes: 5,
      holder: 'operator',
      onProgress: (now) => progress.push(now),
    });
    await eventually(() => progress.length > 0);
    expect(progress[0]).toMatchObject({ lanes: 3 });
    expect(progress[0]!.arrived).toBeLessThan(3);
    start();
    expect(await waiting).toEqual({ group, from: 3, lanes: 5, outcome: 'changed' });
    await allDelivered();
    expect(faults(labels, delivered)).toEqual([]);
    expect(await lanesOf()).toBe(5);
  });

  test('takes another wish', async () => {
    await withBarrier(5);
    expect(await resize(2, false)).toEqual({ group, from: 3, lanes: 2, outcome: 'pending' });
    expect(await groupStatus(database.pool)).toMatchObject([{ wishedLanes: 2 }, {}, { lanes: 3 }]);
    start();
    expect(await resize(2)).toMatchObject({ lanes: 2 });
    await allDelivered();
    expect(faults(labels, delivered)).toEqual([]);
    expect(await lanesOf()).toBe(2);
  });

  test('that one lane cannot reach, since its sink is away, is called off, and the others go on', async () => {
    await resize(2);
    await write();
    const away = new SinkError('away', 'TEST_SINK_AWAY', 'away', { hint: 'wait' });
    let isAway = true;
    // So far that lane 1 has nothing before the barrier.
    for (let n = 0; n < 12; n += 1) await readLane(1, 1);
    start({
      pause: { firstMs: 5, longestMs: 5 },
      handler: (batch, { lane }) => {
        if (isAway && lane === 0) throw away;
        delivered.push(...batch);
      },
    });
    expect(await resize(4, false)).toMatchObject({ outcome: 'pending' });
    const before = labels.length;
    await write();
    const isNew = (label: string): boolean => labels.indexOf(label) >= before;
    await eventually(async () => (await groupStatus(database.pool)).every(({ holder }) => holder !== null));
    expect(delivered.filter(isNew)).toEqual([]);
    expect(await resize(2)).toEqual({ group, from: 2, lanes: 2, outcome: 'withdrawn' });
    await eventually(() => delivered.some(isNew));
    isAway = false;
    await allDelivered();
    expect(faults(labels, delivered)).toEqual([]);
  });

  test('lets a reader that stood at it store nothing once the lanes are others', async () => {
    await resize(2);
    await write();
    await readLane(1, 2);
    expect(await resize(1, false)).toMatchObject({ outcome: 'pending' });
    const late = await open(0);
    const other = await open(1);
    for (const session of [late, other]) {
      for (;;) {
        const batch = await session.current();
        if (batch.reached === 'barrier') break;
        if (batch.events.length === 0) continue;
        expect(await session.advance(batch, [])).toEqual({ advanced: true });
      }
    }
    const atBarrier = await late.current();
    expect(await finishResize(database.pool, group)).toBe(true);
    expect(await late.advance(atBarrier, [])).toEqual({ advanced: false, reason: 'fenced' });
    expect(await lanesOf()).toBe(1);
  });

  test('is forgotten with its group', async () => {
    await withBarrier(5);
    await retireGroup({ pool: database.pool, group, holder: 'operator' });
    expect(await groupStatus(database.pool)).toEqual([]);
    expect(await finishResize(database.pool, group)).toBe(true);
    // Back again, it has one lane, and its tokens have gone on.
    start();
    await eventually(() => new Set(delivered).size === labels.length);
    expect(await lanesOf()).toBe(1);
  });

  test('holds no partition that its lanes have passed, and drops none that one of them has not', async () => {
    await withBarrier(2);
    await database.pool.query(`select setval('outbox.event_seq', 10000005)`);
    await write();
    const drop = async (): Promise<string> =>
      (await dropOldestPartition(database.pool, { keepSeconds: 0 })).outcome;
    // Not before transactions of other tests on this server have ended, which may be older.
    await eventually(async () => {
      const outcome = await drop();
      expect(outcome).not.toBe('dropped');
      return outcome === 'behind';
    });
    start();
    await allDelivered();
    await eventually(async () => (await drop()) === 'dropped');
    expect(faults(labels, delivered)).toEqual([]);
  });
});

test('a seek while lanes change ends the change: the new lanes start at the new place', async () => {
  await withBarrier(5);
  expect(
    await seekGroup({
      pool: database.pool,
      group,
      target: { to: 'position', position: 100 },
      holder: 'operator',
    }),
  ).toMatchObject({ position: 100 });
  expect(await lanesOf()).toBe(5);
  delivered = [];
  start();
  await eventually(() => delivered.length >= 20);
  expect(faults(labels.slice(100), delivered)).toEqual([]);
});

test('what is open when lanes change is delivered by the new lanes when it commits', async () => {
  const writer = await openWriter(database.pool);
  try {
    await writer.emit('k1#1');
    await write(20, 3);
    await readLane(0, 9);
    await resize(4);
    start();
    await writer.commit();
    await eventually(() => delivered.includes('k1#1'));
    expect(new Set(delivered).size).toBe(21);
    expect(delivered).toHaveLength(21);
  } finally {
    await writer.close();
  }
});

describe('a log restored elsewhere in the midst of a change of lanes', () => {
  /** As if the rows had come from another cluster. */
  async function restored(also = ''): Promise<void> {
    await database.pool.query(`update outbox.setting set system_identifier = 1 ${also}`);
  }

  test('is read on to the barrier, and from there by the new lanes', async () => {
    await withBarrier(5);
    await restored();
    expect(await rebaseAfterRestore(database.pool)).toBe(true);
    await write();
    start();
    await allDelivered();
    expect(faults(labels, delivered)).toEqual([]);
    await eventually(async () => (await lanesOf()) === 5);
  });

  test('where keys have other hashes, starts its lanes with what the last of them had not: again, but nothing lost', async () => {
    await withBarrier(5);
    await restored(`, lane_hash = 'of another machine'`);
    expect(await rebaseAfterRestore(database.pool)).toBe(true);
    expect(await lanesOf()).toBe(5);
    const status = await groupStatus(database.pool);
    expect(new Set(status.map(({ position }) => position)).size).toBe(1);
    await write();
    start();
    await allDelivered();
    // Order is that of first deliveries of what was not delivered before.
    expect(new Set(delivered)).toEqual(new Set(labels));
    await rebaseAfterRestore(database.pool);
    expect(await lanesOf()).toBe(5);
  });
});

test('refuses numbers of lanes that there are none of, and groups that are not there', async () => {
  for (const lanes of [0, 1.5, 1_025, Number.NaN])
    await expect(resize(lanes)).rejects.toMatchObject({
      code: 'OUTBOX_LANES_INVALID',
      message: `expected a number of lanes from 1 to 1024, got ${lanes}`,
    });
  await expect(
    resizeGroup({ pool: database.pool, group: 'none', lanes: 2, holder: 'operator' }),
  ).rejects.toMatchObject({ code: 'OUTBOX_GROUP_UNKNOWN' });
  expect(await resize(1)).toEqual({ group, from: 1, lanes: 1, outcome: 'unchanged' });
});

test('counts the lag of each lane, and an event once', async () => {
  await resize(3);
  await write(60, 11);
  const status = await groupStatus(database.pool);
  expect(status.reduce((sum, { lag }) => sum + lag, 0)).toBe(60);
  expect(status.every(({ lag }) => lag < 60)).toBe(true);
  const mine = status.find(({ lag }) => lag > 0)!;
  await readLane(mine.lane, 20);
  const after = await groupStatus(database.pool);
  expect(after[mine.lane]).toMatchObject({ lag: 0, oldestAgeSeconds: 0, delivered: mine.lag });
  expect(after.reduce((sum, { lag }) => sum + lag, 0)).toBe(60 - mine.lag);
});

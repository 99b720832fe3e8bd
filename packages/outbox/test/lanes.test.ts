import { acquireLease } from '@pulsebox/postgres';
import { createRegistry } from '@pulsebox/loop';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { groupStatus } from '../src/group/group-status.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { createWaker } from '../src/lane/waker.ts';
import type { Waker } from '../src/lane/waker.ts';
import { faults } from './interleaving.ts';
import { quiet, runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

const group = 'shared';
let database: TestDatabase;
const running: RunningRelay[] = [];
/** What all handlers were given, in that order. */
let delivered: string[] = [];
const wakers: Waker[] = [];

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  delivered = [];
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await Promise.all(wakers.splice(0).map((waker) => waker.close()));
  await database.drop();
});

function start(options: Partial<RunOptions> = {}): RunningRelay & { readonly holder: string } {
  const holder = `worker/${crypto.randomUUID()}`;
  const one = runRelay({
    pool: database.pool,
    group,
    holder,
    leaseTtlMs: 900,
    handler: (labels) => {
      delivered.push(...labels);
    },
    ...options,
  });
  running.push(one);
  return { ...one, holder };
}

/** As a worker of its own: each has its LISTEN. */
function listening(): Waker {
  const waker = createWaker({ connection: { connectionString: database.url }, log: quiet });
  wakers.push(waker);
  return waker;
}

async function withLanes(lanes: number): Promise<void> {
  await registerGroup(database.pool, group, 'beginning');
  const report = await resizeGroup({ pool: database.pool, group, lanes, holder: 'operator' });
  expect(report).toEqual({ group, from: 1, lanes, outcome: 'changed' });
}

/** Holder to number of lanes. */
async function shares(): Promise<Map<string, number>> {
  const { rows } = await database.pool.query<{ holder: string; n: number }>(
    `select holder, count(*)::int as n from pulsebox.lease
     where starts_with(name, 'outbox/' || $1) and expires_at > clock_timestamp() and holder is not null
     group by holder`,
    [group],
  );
  return new Map(rows.map(({ holder, n }) => [holder, n]));
}

async function sharesAre(...expected: readonly number[]): Promise<void> {
  await eventually(async () => {
    const found = [...(await shares()).values()].toSorted((a, b) => b - a);
    return JSON.stringify(found) === JSON.stringify(expected);
  });
}

async function write(count: number, keys: number, from = 0): Promise<string[]> {
  const labels = Array.from({ length: count }, (_, n) => `k${(from + n) % keys}#${from + n + 1}`);
  const events = labels.map((label) => ({ topic: 't.e', key: label.split('#')[0]!, payload: label }));
  await emitAll(database.pool, events, { autocommit: true });
  return labels;
}

test('one worker reads all lanes of a group, each event once and every key in order', async () => {
  await withLanes(3);
  const labels = await write(200, 17);
  const one = start({ batchSize: 7 });
  await eventually(() => one.handled.flat().length >= labels.length);
  expect(faults(labels, one.handled.flat())).toEqual([]);
  expect(Math.max(...one.handled.map((batch) => batch.length))).toBeLessThanOrEqual(7);
});

test('events without a key are spread over all lanes', async () => {
  await withLanes(4);
  await emitAll(
    database.pool,
    Array.from({ length: 100 }, (_, n) => ({ topic: 't.e', payload: `#${n}` })),
    { autocommit: true },
  );
  const lanes = new Set<number>();
  const one = start({
    handler: (_labels, { lane }) => {
      lanes.add(lane);
    },
  });
  await eventually(() => one.handled.flat().length === 100);
  expect([...lanes].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
});

test('a lane without events walks on, says how far it is, and counts as caught up', async () => {
  await withLanes(4);
  const labels = await write(500, 1);
  const one = start({ batchSize: 10 });
  await eventually(() => one.handled.flat().length === labels.length);
  await eventually(async () =>
    (await groupStatus(database.pool)).every(({ position, lag }) => position === 500 && lag === 0),
  );
  expect(one.handled.flat()).toEqual(labels);
});

describe.each([
  ['that hear of each other', listening],
  ['that hear nothing', (): undefined => undefined],
])('workers %s', (_, waker) => {
  function worker(): RunningRelay & { readonly holder: string } {
    const own = waker();
    return start(own === undefined ? {} : { waker: own });
  }

  test('share four lanes: one, then two, then three, then one of them', async () => {
    await withLanes(4);
    const one = worker();
    await sharesAre(4);
    const two = worker();
    await sharesAre(2, 2);
    worker();
    await sharesAre(2, 1, 1);
    const labels = await write(300, 23);
    await eventually(() => delivered.length >= labels.length);
    await Promise.all([one.stop(), two.stop()]);
    await sharesAre(4);
    labels.push(...(await write(100, 23, 300)));
    await eventually(() => delivered.length >= labels.length);
    expect(faults(labels, delivered)).toEqual([]);
  });
});

test('the lanes of a worker that died are taken when its leases have run out', async () => {
  await withLanes(4);
  for (const lane of [1, 2, 3])
    await acquireLease(database.pool, { name: laneLeaseName({ group, lane }), holder: 'dead', ttlMs: 1_500 });
  const one = start();
  await eventually(async () => (await shares()).get(one.holder) === 4);
});

test('a group is paused while any of its lanes is', async () => {
  await withLanes(2);
  const registry = createRegistry();
  let away = true;
  const one = start({
    metrics: outboxMetrics(registry),
    pause: { firstMs: 5, longestMs: 5 },
    handler: (_labels, { lane }) => {
      if (away && lane === 0) throw new SinkError('away', 'TEST_SINK_AWAY', 'away', { hint: 'wait' });
    },
  });
  const labels = await write(100, 50);
  const paused = async (): Promise<string | undefined> =>
    /outbox_group_paused\{group="shared"\} (\d)/.exec(await registry.metrics())?.[1];
  await eventually(async () => one.handled.flat().length > 0 && (await paused()) === '1');
  expect(one.loop.checks?.()).toMatchObject({ sink: { status: 'degraded' } });
  away = false;
  await eventually(() => one.handled.flat().length === labels.length);
  expect(await paused()).toBe('0');
  await one.stop();
  expect(await paused()).toBeUndefined();
});

test('a pause is not left behind by a lane that is no more', async () => {
  await withLanes(3);
  const registry = createRegistry();
  let away = true;
  start({
    metrics: outboxMetrics(registry),
    pause: { firstMs: 5, longestMs: 5 },
    handler: (_labels, { lane }) => {
      if (away && lane === 2) throw new SinkError('away', 'TEST_SINK_AWAY', 'away', { hint: 'wait' });
    },
  });
  const paused = async (): Promise<string | undefined> =>
    /outbox_group_paused\{group="shared"\} (\d)/.exec(await registry.metrics())?.[1];
  await write(100, 50);
  await eventually(async () => (await paused()) === '1');
  const shrunk = resizeGroup({ pool: database.pool, group, lanes: 1, holder: 'operator' });
  await write(10, 5);
  away = false;
  expect(await shrunk).toMatchObject({ outcome: 'changed' });
  await eventually(async () => (await paused()) === '0');
});

test('a fair share is kept while lanes change, with events all the time', async () => {
  await registerGroup(database.pool, group, 'beginning');
  for (let n = 0; n < 2; n += 1) start({ waker: listening(), batchSize: 10 });
  const labels: string[] = [];
  for (const lanes of [3, 1, 4, 2, 5]) {
    labels.push(...(await write(120, 13, labels.length)));
    const report = await resizeGroup({ pool: database.pool, group, lanes, holder: 'operator' });
    expect(report).toMatchObject({ lanes, outcome: 'changed' });
    labels.push(...(await write(120, 13, labels.length)));
  }
  await eventually(() => delivered.length >= labels.length);
  expect(faults(labels, delivered)).toEqual([]);
  await sharesAre(3, 2);
});

// A worker that stops gives its lanes back at once. Leases are so long here that a test which waited for one would fail.

import { requestHandover } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import type { LaneReader } from '../src/lane/lane-reader.ts';
import { createLanes } from '../src/lane/lanes.ts';
import { createWaker } from '../src/lane/waker.ts';
import type { Waker } from '../src/lane/waker.ts';
import { LANE_HOLDERS } from '../src/lease/lane-holders.ts';
import { announceLanes } from '../src/lease/lane-notice.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { faults } from './interleaving.ts';
import { quiet, runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

const group = 'shared';
const LEASE_MS = 600_000;
let database: TestDatabase;
let delivered: string[] = [];
const running: RunningRelay[] = [];
const wakers: Waker[] = [];

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  delivered = [];
  await registerGroup(database.pool, group, 'beginning');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await Promise.all(wakers.splice(0).map((waker) => waker.close()));
  await database.drop();
});

/** With a LISTEN of its own: without one the others learn of it within a third of a lease. */
async function start(
  holder: string,
  handler: NonNullable<RunOptions['handler']> = () => undefined,
): Promise<RunningRelay> {
  const waker = createWaker({ connection: { connectionString: database.url }, log: quiet });
  wakers.push(waker);
  await eventually(() => waker.state === 'listening');
  const one = runRelay({
    pool: database.pool,
    group,
    holder,
    waker,
    leaseTtlMs: LEASE_MS,
    batchSize: 10,
    handler: async (labels, batch, context) => {
      await handler(labels, batch, context);
      delivered.push(...labels);
    },
  });
  running.push(one);
  return one;
}

async function withLanes(lanes: number): Promise<void> {
  await resizeGroup({ pool: database.pool, group, lanes, holder: 'operator' });
}

async function lanesOf(holder: string): Promise<number> {
  const { rows } = await database.pool.query(
    `select from pulsebox.lease where starts_with(name, 'outbox/shared/') and holder = $1 and expires_at > clock_timestamp()`,
    [holder],
  );
  return rows.length;
}

async function write(from: number, to: number): Promise<string[]> {
  const labels = Array.from({ length: to - from + 1 }, (_, n) => `k${(from + n) % 13}#${from + n}`);
  await emitAll(
    database.pool,
    labels.map((label) => ({ topic: 't.e', key: label.split('#')[0]!, payload: label })),
    { autocommit: true },
  );
  return labels;
}

test('the only lane of a group goes to the one that stands by', async () => {
  const one = await start('one');
  await eventually(async () => (await lanesOf('one')) === 1);
  await start('two');
  await one.stop();
  await eventually(async () => (await lanesOf('two')) === 1);
});

test.each([2, 3])(
  'of %i workers that share the lanes, those that stay share those of one that stops',
  async (workers) => {
    await withLanes(6);
    const names = Array.from({ length: workers }, (_, n) => `worker-${n}`);
    for (const name of names) await start(name);
    const labels = await write(1, 200);
    const held = async (count: number): Promise<boolean> =>
      (await Promise.all(names.map(lanesOf))).filter((lanes) => lanes === count).length === 6 / count;
    await eventually(() => held(6 / workers));
    await running[0]!.stop();
    labels.push(...(await write(201, 400)));
    if (workers === 2) await eventually(async () => (await lanesOf('worker-1')) === 6);
    else await eventually(() => held(3));
    await eventually(() => delivered.length >= labels.length);
    expect(faults(labels, delivered)).toEqual([]);
    expect(delivered).toHaveLength(labels.length);
  },
);

test('a batch that is in hand when its worker stops is finished, stored and not delivered again', async () => {
  await withLanes(2);
  const entered = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const one = await start('one', async () => {
    entered.resolve();
    await go.promise;
  });
  await eventually(async () => (await lanesOf('one')) === 2);
  const labels = await write(1, 30);
  await entered.promise;
  await start('two');
  const stopped = one.stop();
  // Asked for by nobody: what is in hand is still its own.
  expect(await lanesOf('one')).toBeGreaterThan(0);
  go.resolve();
  await stopped;
  await eventually(() => delivered.length >= labels.length);
  await eventually(async () => (await lanesOf('two')) === 2);
  expect(faults(labels, delivered)).toEqual([]);
  expect(delivered).toHaveLength(labels.length);
});

test('a lane that is handed over is told of, so that everybody else sees who has how many', async () => {
  await withLanes(2);
  await start('one');
  await eventually(async () => (await lanesOf('one')) === 2);
  const listener = createWaker({ connection: { connectionString: database.url }, log: quiet });
  wakers.push(listener);
  await eventually(() => listener.state === 'listening');
  let notices = 0;
  listener.onLanes(group, () => (notices += 1));
  await requestHandover(database.pool, { name: laneLeaseName({ group, lane: 0 }), wantedBy: 'two' });
  await announceLanes(database.pool, group);
  // That one, and that of the holder.
  await eventually(() => notices >= 2);
});

test('what moves while a worker looks at who holds what makes it look once more', async () => {
  await withLanes(2);
  let notice = (): void => undefined;
  let looks = 0;
  const query = async (config: string, values?: unknown[]): Promise<unknown> => {
    const answer = await database.pool.query(config, values);
    if (config !== LANE_HOLDERS) return answer;
    looks += 1;
    if (looks === 1) notice();
    return answer;
  };
  const db = { query } as unknown as Queryable;
  const waker = createWaker({ connection: undefined, log: quiet });
  let learns: (lanes: number) => void = () => undefined;
  const reader: LaneReader = {
    async turn() {
      learns(2);
      return { events: 0, nextInMs: LEASE_MS };
    },
    held: () => true,
    renew: async () => undefined,
    check: () => ({ status: 'ok' }),
    close: async () => undefined,
  };
  const lanes = createLanes({
    db,
    group,
    holder: 'one',
    waker: {
      ...waker,
      onLanes(_group, listener): () => void {
        notice = listener;
        return () => undefined;
      },
    },
    pollMs: LEASE_MS,
    leaseTtlMs: LEASE_MS,
    longestRestMs: LEASE_MS,
    createReader: (_lane, onLanes) => {
      learns = onLanes;
      return reader;
    },
  });
  const { signal } = new AbortController();
  const context = { signal, stopping: signal, progress: () => undefined, log: quiet };
  for (let n = 0; n < 6; n += 1) await lanes.turn(context);
  expect(looks).toBe(2);
  await lanes.close();
});

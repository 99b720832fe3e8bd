// A relay of a worker that ends after one turn.

import { acquireLease, renewLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { createWaker } from '../src/lane/waker.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { emitAll } from '../src/log/emit.ts';
import { relay } from '../src/relay.ts';
import { labelOf } from './log-reader.ts';
import { quiet, recordedLog } from './relay-runner.ts';

const group = 'g';
let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, group, 'beginning');
});
afterEach(async () => {
  await database.drop();
});

async function commit(...labels: string[]): Promise<void> {
  await emitAll(
    database.pool,
    labels.map((label) => ({ topic: 't.e', key: label.split('#')[0]!, payload: label })),
    { autocommit: true },
  );
}

async function takenBy(holder: string, ttlMs: number, lane = 0): Promise<number> {
  const attempt = await acquireLease(database.pool, { name: laneLeaseName({ group, lane }), holder, ttlMs });
  if (!attempt.acquired) throw new Error('not taken');
  return attempt.token;
}

interface Turned {
  readonly events: number;
  readonly delivered: readonly string[];
  readonly said: readonly string[];
}

async function turn(
  stopping: AbortSignal = new AbortController().signal,
  leaseTtlMs = 2_000,
): Promise<Turned> {
  const delivered: string[] = [];
  const { log, lines } = recordedLog();
  const loop = relay({
    pool: database.pool,
    group,
    holder: 'single/shot',
    waker: createWaker({ connection: undefined, log: quiet }),
    once: true,
    batchSize: 3,
    pollMs: 50,
    leaseTtlMs,
    handler: async ({ events }) => {
      delivered.push(...events.map(labelOf));
    },
  });
  const result = await loop.tick({
    signal: new AbortController().signal,
    stopping,
    progress: () => undefined,
    log,
  });
  await loop.stop?.();
  return { events: result?.events ?? 0, delivered, said: lines.map(({ msg }) => msg) };
}

test('one batch is delivered, and no more', async () => {
  await commit('a#1', 'b#2', 'c#3', 'd#4');
  expect(await turn()).toMatchObject({ events: 3, delivered: ['a#1', 'b#2', 'c#3'] });
  expect(await turn()).toMatchObject({ events: 1, delivered: ['d#4'] });
  expect(await turn()).toMatchObject({ events: 0, delivered: [] });
});

test('the lease of a worker that was killed is waited for, which the log says', async () => {
  await commit('a#1');
  await takenBy('host/dead', 1_500);
  const { events, delivered, said } = await turn();
  expect({ events, delivered }).toEqual({ events: 1, delivered: ['a#1'] });
  expect(said).toContain('another worker holds the lease: waiting for its end, unless that worker renews it');
});

test('the lease of a worker that lives is left to it', async () => {
  await commit('a#1');
  const token = await takenBy('host/alive', 600_000);
  const turned = turn();
  const name = laneLeaseName({ group, lane: 0 });
  const renewing = setInterval(() => {
    void renewLease(database.pool, { name, token, ttlMs: 600_000 });
  }, 100);
  try {
    const { events, said } = await turned;
    expect(events).toBe(0);
    expect(said.at(-1)).toBe('another worker reads this group: nothing is left for this one');
  } finally {
    clearInterval(renewing);
    await database.pool.query('select 1');
  }
});

test('a lease longer than its own is waited for no longer than its own lasts', async () => {
  await commit('a#1');
  await takenBy('host/elsewhere', 600_000);
  expect(await turn(undefined, 300)).toMatchObject({ events: 0, delivered: [] });
});

test('a worker that is asked to stop waits no longer', async () => {
  await takenBy('host/dead', 600_000);
  const stopping = new AbortController();
  const turned = turn(stopping.signal, 600_000);
  await eventually(async () => {
    const { rows } = await database.pool.query(`select from pg_stat_activity where query like '%lane.n%'`);
    return rows.length > 0;
  });
  stopping.abort();
  expect(await turned).toMatchObject({ events: 0 });
});

test('of a group with several lanes the batch is that of any which has one, dead workers among them or not', async () => {
  await resizeGroup({ pool: database.pool, group, lanes: 4, holder: 'operator' });
  for (const lane of [1, 2]) await takenBy('host/dead', 700, lane);
  for (const label of ['a#1', 'b#2', 'c#3', 'd#4', 'e#5', 'f#6', 'g#7']) await commit(label);
  const delivered: string[] = [];
  for (let n = 0; n < 30 && delivered.length < 7; n += 1) {
    const { events, delivered: these } = await turn();
    expect(these).toHaveLength(events);
    expect(events).toBeGreaterThan(0);
    delivered.push(...these);
  }
  expect(delivered.toSorted()).toEqual(['a#1', 'b#2', 'c#3', 'd#4', 'e#5', 'f#6', 'g#7']);
  expect(await turn()).toMatchObject({ events: 0 });
});

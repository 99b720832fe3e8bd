// A group's order is a matter of its worker's code: a release may change it while events are parked.

import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { acquireLease } from '@pulsebox/postgres';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { releaseWaiting } from '../src/parked/release-waiting.ts';
import { parkingLane } from './parking-lane.ts';
import { park } from './parked-rows.ts';

const lane = parkingLane();

async function deadHead(): Promise<string> {
  const one = lane.start({
    maxAttempts: 1,
    handler: (given) => {
      if (given.includes('k#1')) throw new Error('no');
    },
  });
  await lane.reading(one);
  await lane.commit('k#1');
  await lane.commit('k#2', 'l#3', 'k#4');
  await eventually(async () => (await lane.parked(one)).length === 3);
  await one.stop();
  return one.group;
}

describe.each(['rows', 'pg-boss'] as const)('on a schedule kept by %s, a group', (schedule) => {
  beforeEach(() => {
    lane.schedule = schedule;
  });

  test('that keeps no order any more delivers what waited behind a dead letter, which stays', async () => {
    const group = await deadHead();
    const next = lane.start({ group, order: 'none' });
    await eventually(async () => (await lane.parked(next)).length === 1);
    expect(next.handled.flat().toSorted()).toEqual(['k#2', 'k#4']);
    expect(await lane.parked(next)).toEqual([expect.objectContaining({ label: 'k#1', state: 'dead' })]);
  });

  test('that has begun to keep order tries events of a key one after the other, as they were written', async () => {
    let fails = true;
    const first = lane.start({
      order: 'none',
      retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
      handler: (_given, { events }) => ({
        failed: fails ? events.map(({ position }) => ({ position, reason: 'no', retryable: true })) : [],
      }),
    });
    await lane.reading(first);
    await lane.commit('k#1', 'k#2', 'l#3', 'k#4');
    await eventually(async () => (await lane.parked(first)).length === 4);
    await first.stop();
    // The later ones are due before the first.
    await lane.pool.query(
      `update outbox.parked set next_attempt_at = now() - position * interval '1 ms' where group_name = $1`,
      [first.group],
    );
    fails = false;
    const second = lane.start({ group: first.group, order: 'key' });
    await lane.nothingParked(second);
    const delivered = second.handled.flat();
    expect(delivered.filter((label) => label.startsWith('k'))).toEqual(['k#1', 'k#2', 'k#4']);
    expect(delivered).toHaveLength(4);
  });

  test('that has begun to keep order parks later events behind a dead letter that none waited for before', async () => {
    const first = lane.start({
      order: 'none',
      maxAttempts: 1,
      handler: (given, { events }) => ({
        failed: events
          .filter((_event, n) => given[n] === 'k#1')
          .map(({ position }) => ({ position, reason: 'no', retryable: false })),
      }),
    });
    await lane.reading(first);
    await lane.commit('k#1', 'k#2');
    await eventually(async () => (await lane.parked(first))[0]?.state === 'dead');
    await first.stop();
    const second = lane.start({ group: first.group, order: 'key' });
    await lane.commit('k#3', 'l#4');
    await eventually(async () => (await lane.parked(second)).length === 2);
    expect(second.handled.flat()).toEqual(['l#4']);
  });
});

test('what waits is released in steps, by the holder of the lease alone', async () => {
  const { pool } = lane;
  const group = await deadHead();
  await pool.query('delete from outbox.parked where group_name = $1', [group]);
  const rows = Array.from({ length: 25 }, (_, n) => ({
    group,
    position: n + 1,
    key: 'k',
    state: n === 0 ? ('dead' as const) : ('parked' as const),
    failedAgo: n === 0 ? 60 : null,
  }));
  await park(pool, ...rows);
  const held = await acquireLease(pool, {
    name: laneLeaseName({ group, lane: 0 }),
    holder: 'test',
    ttlMs: 60_000,
  });
  if (!held.acquired) throw new Error('not taken');
  expect(await releaseWaiting(pool, { group, lane: 0, token: held.token - 1 }, 10)).toBe(0);
  expect(await releaseWaiting(pool, { group, lane: 0, token: held.token }, 10)).toBe(24);
  expect(await releaseWaiting(pool, { group, lane: 0, token: held.token }, 10)).toBe(0);
});

test('more events of one key that are scheduled ahead of its first than a look takes do not keep it waiting', async () => {
  const { pool } = lane;
  const group = await deadHead();
  await pool.query('delete from outbox.parked where group_name = $1', [group]);
  const rows = Array.from({ length: 40 }, (_, n) => ({
    group,
    position: n + 1,
    key: 'k',
    payload: JSON.stringify(`k#${n + 1}`),
    state: 'parked' as const,
    dueIn: -n,
  }));
  await park(pool, ...rows);
  const one = lane.start({ group, batchSize: 5 });
  await lane.nothingParked(one);
  expect(one.handled.flat()).toEqual(rows.map((_row, n) => `k#${n + 1}`));
});

import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { failingSoOften } from './failing-handlers.ts';
import { parkingLane } from './parking-lane.ts';

const lane = parkingLane();

function labels(key: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `${key}#${from + n}`);
}

describe.each(['rows', 'pg-boss'] as const)('on a schedule kept by %s', (schedule) => {
  beforeEach(() => {
    lane.schedule = schedule;
  });

  test('a thousand events that wait behind one take a handful of redrives, in order and once each', async () => {
    let fails = true;
    const calls: string[][] = [];
    const one = lane.start({
      maxAttempts: 1,
      handler: (given) => {
        if (fails && given.includes('k#1')) throw new Error('no');
        calls.push([...given]);
      },
    });
    await lane.reading(one);
    await lane.commit(...labels('k', 1, 1_001));
    await eventually(async () => (await lane.parked(one)).length === 1_001);
    fails = false;
    await lane.replay(one);
    await lane.nothingParked(one);
    expect(calls.map(({ length }) => length)).toEqual([500, 500, 1]);
    expect(calls.flat()).toEqual(labels('k', 1, 1_001));
    expect(one.errors).toEqual([]);
  });

  test('one that has failed is tried alone, and what waits behind it goes out once it is delivered', async () => {
    let fails = true;
    let tries = 0;
    const calls: string[][] = [];
    const one = lane.start({
      maxAttempts: 1_000,
      batchSize: 8,
      retry: { firstMs: 100, longestMs: 100 },
      handler: (given) => {
        tries += 1;
        if (fails) throw new Error('no');
        calls.push([...given]);
      },
    });
    await lane.reading(one);
    await lane.commit('k#1');
    await lane.commit(...labels('k', 2, 12));
    await eventually(async () => (await lane.parked(one)).length === 12);
    tries = 0;
    await eventually(() => tries > 1);
    fails = false;
    await lane.nothingParked(one);
    expect(calls).toEqual([['k#1'], labels('k', 2, 9), labels('k', 10, 12)]);
  });

  test('a failure in the midst of them holds back those behind it, whose attempt does not count', async () => {
    let fails: 'k#1' | 'k#5' = 'k#1';
    const delivered: string[] = [];
    const one = lane.start({
      maxAttempts: 1,
      batchSize: 10,
      handler: (given, { events }) => {
        const bad = events[given.indexOf(fails)];
        delivered.push(...given.filter((label) => label !== fails));
        return bad === undefined
          ? undefined
          : { failed: [{ position: bad.position, reason: 'no', retryable: true }] };
      },
    });
    await lane.reading(one);
    await lane.commit('k#1');
    await lane.commit(...labels('k', 2, 10));
    await eventually(async () => (await lane.parked(one)).length === 10);
    fails = 'k#5';
    await lane.replay(one);
    await eventually(async () => (await lane.parked(one))[0]?.state === 'dead');
    const left = await lane.parked(one);
    expect(left.map(({ label }) => label)).toEqual(labels('k', 5, 10));
    expect(left[0]).toMatchObject({ attempts: 1, reasons: ['no'] });
    for (const behind of left.slice(1))
      expect(behind).toMatchObject({ state: 'parked', attempts: 0, attempting: false, scheduled: false });
    fails = 'k#1';
    delivered.length = 0;
    await lane.replay(one);
    await lane.nothingParked(one);
    expect(delivered).toEqual(labels('k', 5, 10));
  });

  test('a handler that throws in the midst of them overtakes nothing', async () => {
    const delivered: string[] = [];
    const one = lane.start({
      maxAttempts: 100,
      batchSize: 16,
      handler: failingSoOften({ 'k#1': 1, 'k#6': 1, 'k#17': 2 }, delivered),
    });
    await lane.reading(one);
    await lane.commit('k#1', ...labels('k', 2, 24));
    await eventually(() => delivered.includes('k#24'));
    await lane.nothingParked(one);
    expect(delivered).toEqual(labels('k', 1, 24));
  });

  test('several keys share a batch, and none waits for another to be done', async () => {
    let fails = true;
    const calls: string[][] = [];
    const one = lane.start({
      maxAttempts: 1,
      batchSize: 10,
      handler: (given, { events }) => {
        if (fails)
          return { failed: events.map(({ position }) => ({ position, reason: 'no', retryable: false })) };
        calls.push([...given]);
        return undefined;
      },
    });
    await lane.reading(one);
    for (const key of ['k', 'l']) await lane.commit(...labels(key, 1, 8));
    await eventually(async () => (await lane.parked(one)).length === 16);
    fails = false;
    await lane.replay(one);
    await lane.nothingParked(one);
    expect(calls[0]).toEqual([...labels('k', 1, 5), ...labels('l', 1, 5)]);
    expect(calls.flat().filter((label) => label.startsWith('k'))).toEqual(labels('k', 1, 8));
    expect(calls.flat().filter((label) => label.startsWith('l'))).toEqual(labels('l', 1, 8));
  });
});

test('one that somebody has locked by hand lets nothing behind it go out before it', async () => {
  let fails = true;
  const delivered: string[] = [];
  const one = lane.start({
    maxAttempts: 1,
    handler: (given) => {
      if (fails && given.includes('k#1')) throw new Error('no');
      delivered.push(...given);
    },
  });
  await lane.reading(one);
  await lane.commit('k#1');
  await lane.commit(...labels('k', 2, 6));
  await eventually(async () => (await lane.parked(one)).length === 6);
  fails = false;
  const client = await lane.pool.connect();
  try {
    await client.query('begin');
    await client.query(
      `select from outbox.parked where group_name = $1 and payload #>> '{}' = 'k#4' for update`,
      [one.group],
    );
    await lane.replay(one);
    await eventually(() => delivered.length > 0);
    expect(delivered).toEqual(labels('k', 1, 3));
  } finally {
    await client.query('rollback');
    client.release();
  }
  await lane.nothingParked(one);
  expect(delivered).toEqual(labels('k', 1, 6));
});

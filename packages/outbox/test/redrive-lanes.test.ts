// Parked events carry no lane: they are those of the lane that their key has now.

import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import type { ResizeReport } from '../src/group/resize-group.ts';
import { parkingLane } from './parking-lane.ts';

const lane = parkingLane();
const KEYS = 12;

function labels(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `k${(from + n) % KEYS}#${from + n}`);
}

async function newGroup(lanes: number): Promise<string> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(lane.pool, group, 'end');
  if (lanes > 1) await resize(group, lanes);
  return group;
}

async function resize(group: string, lanes: number): Promise<ResizeReport> {
  return await resizeGroup({ pool: lane.pool, group, lanes, holder: 'operator' });
}

function expectOrder(delivered: readonly string[], written: readonly string[]): void {
  for (const key of new Set(written.map((label) => label.split('#')[0]!))) {
    const of = (all: readonly string[]): string[] => all.filter((label) => label.startsWith(`${key}#`));
    expect(of(delivered)).toEqual(of(written));
  }
}

describe.each(['rows', 'pg-boss'] as const)('on a schedule kept by %s', (schedule) => {
  beforeEach(() => {
    lane.schedule = schedule;
  });

  test.each([
    [1, 4],
    [4, 1],
    [3, 2],
  ])('parked events of %i lanes are delivered by those of %i, in order and once', async (from, to) => {
    const group = await newGroup(from);
    let fails = true;
    const delivered: string[] = [];
    const start = (): ReturnType<typeof lane.start> =>
      lane.start({
        group,
        leaseTtlMs: 900,
        maxAttempts: 1_000,
        retry: { firstMs: 100, longestMs: 100 },
        handler: (given, { events }) => {
          if (fails)
            return { failed: events.map(({ position }) => ({ position, reason: 'no', retryable: true })) };
          delivered.push(...given);
          return undefined;
        },
      });
    start();
    start();
    await lane.commit(...labels(1, 36));
    await eventually(async () => (await lane.parked({ group })).length === 36);
    expect(await resize(group, to)).toMatchObject({ outcome: 'changed' });
    await lane.commit(...labels(37, 60));
    fails = false;
    await eventually(() => delivered.length >= 60);
    await eventually(async () => (await lane.parked({ group })).length === 0);
    expectOrder(delivered, labels(1, 60));
    expect(delivered).toHaveLength(60);
  });

  test('a redrive that is under way when lanes change is waited for, and not repeated', async () => {
    const group = await newGroup(1);
    const entered = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    let calls = 0;
    const delivered: string[] = [];
    lane.start({
      group,
      leaseTtlMs: 900,
      handler: async (given) => {
        calls += 1;
        if (calls === 1) throw new Error('no');
        if (calls === 2) {
          entered.resolve();
          await go.promise;
        }
        delivered.push(...given);
      },
    });
    await lane.commit('k1#1');
    await entered.promise;
    const changing = resize(group, 4);
    await eventually(async () => {
      const { rows } = await lane.pool.query(
        `select from pulsebox.lease where name = 'outbox/' || $1 || '/0' and wanted_by = 'operator'`,
        [group],
      );
      return rows.length === 1;
    });
    await lane.commit('k1#2', 'k2#3');
    expect(delivered).toEqual([]);
    go.resolve();
    expect(await changing).toMatchObject({ outcome: 'changed' });
    await eventually(() => delivered.length >= 3);
    expect(delivered.filter((label) => label.startsWith('k1'))).toEqual(['k1#1', 'k1#2']);
    expect(await lane.parked({ group })).toEqual([]);
  });
});

// What a handler says of parked events after its reader was replaced, without either of them knowing yet.

import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import type { BatchOutcome } from '../src/deliver/handler.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { undoClaim } from '../src/parked/redrive-claim.ts';
import { parkingLane } from './parking-lane.ts';

const lane = parkingLane();

const verdicts: Record<string, (position: number) => BatchOutcome | undefined> = {
  delivered: () => undefined,
  'failed, and worth another try': (position) => ({ failed: [{ position, reason: 'new', retryable: true }] }),
  'failed for good': (position) => ({ failed: [{ position, reason: 'new', retryable: false }] }),
};

describe.each(['rows', 'pg-boss'] as const)('on a schedule kept by %s', (schedule) => {
  beforeEach(() => {
    lane.schedule = schedule;
  });

  test.each(Object.keys(verdicts))('a verdict that comes too late is not stored: %s', async (verdict) => {
    const entered = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    let calls = 0;
    const zombie = lane.start({
      leaseTtlMs: 60_000,
      maxAttempts: 100,
      handler: async (_given, { events }) => {
        calls += 1;
        if (calls === 1) throw new Error('first');
        entered.resolve();
        await go.promise;
        return verdicts[verdict]?.(events[0]!.position);
      },
    });
    await lane.reading(zombie);
    await lane.commit('k#1');
    await entered.promise;
    // Unnoticed: its own lease has a minute to go.
    await lane.pool.query('update pulsebox.lease set token = token + 1 where name = $1', [
      laneLeaseName({ group: zombie.group, lane: 0 }),
    ]);
    const before = await lane.parked(zombie);
    const timers = await lane.timers(zombie);
    go.resolve();
    await eventually(() => zombie.errors.length > 0);
    await zombie.stop();
    expect(zombie.errors[0]).toMatchObject({
      code: 'OUTBOX_LEASE_LOST',
      message: expect.stringContaining('the outcome of a redrive') as string,
    });
    expect(await lane.parked(zombie)).toEqual(before);
    expect(before).toEqual([
      expect.objectContaining({
        label: 'k#1',
        state: 'parked',
        attempts: 2,
        attempting: true,
        reasons: ['first'],
      }),
    ]);
    expect(await lane.timers(zombie)).toEqual(timers);
  });

  test('nor is that of what goes out behind a delivered event', async () => {
    const entered = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    let fails = true;
    const zombie = lane.start({
      leaseTtlMs: 60_000,
      maxAttempts: 100,
      retry: { firstMs: 200, longestMs: 200 },
      handler: async (given) => {
        if (fails) throw new Error('first');
        if (given.length === 1) return;
        entered.resolve();
        await go.promise;
      },
    });
    await lane.reading(zombie);
    await lane.commit('k#1');
    await lane.commit('k#2', 'k#3', 'k#4');
    await eventually(async () => (await lane.parked(zombie)).length === 4);
    fails = false;
    await entered.promise;
    await lane.pool.query('update pulsebox.lease set token = token + 1 where name = $1', [
      laneLeaseName({ group: zombie.group, lane: 0 }),
    ]);
    go.resolve();
    await eventually(() => zombie.errors.length > 0);
    await zombie.stop();
    expect(await lane.parked(zombie)).toEqual(
      ['k#2', 'k#3', 'k#4'].map((label) =>
        expect.objectContaining({ label, state: 'parked', attempts: 1, attempting: true, reasons: [] }),
      ),
    );
    // The next reader tries each of them alone, and in order.
    await lane.pool.query(`update pulsebox.lease set holder = null, expires_at = null where name = $1`, [
      laneLeaseName({ group: zombie.group, lane: 0 }),
    ]);
    const next = lane.start({ group: zombie.group });
    await eventually(async () => (await lane.parked(next)).length === 0);
    expect(next.handled).toEqual([['k#2'], ['k#3'], ['k#4']]);
  });
});

test('an attempt that has come to its verdict keeps its count, whoever takes his own back', async () => {
  const one = lane.start({
    retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
    handler: () => {
      throw new Error('no');
    },
  });
  await lane.reading(one);
  await lane.commit('k#1');
  await eventually(async () => (await lane.parked(one)).length === 1);
  const before = await lane.parked(one);
  expect(before).toMatchObject([{ attempts: 1, attempting: false }]);
  const { rows } = await lane.pool.query<{ position: number }>(
    'select position::float8 as position from outbox.parked where group_name = $1',
    [one.group],
  );
  const token = await lane.takeOver(one);
  await undoClaim(
    lane.pool,
    { group: one.group, lane: 0, token },
    rows.map(({ position }) => position),
  );
  expect(await lane.parked(one)).toEqual(before);
});

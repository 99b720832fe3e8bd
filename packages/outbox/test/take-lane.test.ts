import { acquireLease, holdLease, releaseLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { takeLane, withAllLanes } from '../src/lease/take-lane.ts';

const group = 'g';
let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, group, 'beginning');
});
afterEach(async () => {
  await database.drop();
});

async function heldBy(holder: string, lane = 0): Promise<number> {
  const name = laneLeaseName({ group, lane });
  const attempt = await acquireLease(database.pool, { name, holder, ttlMs: 600_000 });
  if (!attempt.acquired) throw new Error('not taken');
  return attempt.token;
}

async function holders(): Promise<(string | null)[]> {
  const { rows } = await database.pool.query<{ holder: string | null }>(
    `select case when expires_at > clock_timestamp() then holder end as holder
     from pulsebox.lease where starts_with(name, 'outbox/g/') order by name`,
  );
  return rows.map(({ holder }) => holder);
}

const asked = { holder: 'operator', timeoutMs: 15_000 };

test('a lane that nobody reads is taken at once, and given back', async () => {
  const lease = await takeLane({ pool: database.pool, lane: { group, lane: 0 }, holder: 'op', timeoutMs: 0 });
  expect(await holders()).toEqual(['op']);
  await lease.release();
  expect(await holders()).toEqual([null]);
});

test('one that is read is refused by name when it shall not be waited for, and nobody is asked for it', async () => {
  await heldBy('host/1/abc');
  await expect(
    takeLane({ pool: database.pool, lane: { group, lane: 0 }, holder: 'op', timeoutMs: 0 }),
  ).rejects.toMatchObject({
    code: 'OUTBOX_LANE_BUSY',
    message: 'host/1/abc reads group g, lane 0',
    hint: expect.stringContaining('stop the worker') as string,
  });
  const { rows } = await database.pool.query('select wanted_by from pulsebox.lease');
  expect(rows).toEqual([{ wanted_by: null }]);
});

test('one that is read is asked for, and taken when its reader hands it over', async () => {
  const token = await heldBy('reader');
  const name = laneLeaseName({ group, lane: 0 });
  const reader = holdLease(database.pool, {
    name,
    token,
    holder: 'reader',
    ttlMs: 600_000,
    requestedAtMs: performance.now(),
  });
  const taking = takeLane({ ...asked, pool: database.pool, lane: { group, lane: 0 } });
  await eventually(async () => {
    await reader.renewNow();
    return reader.wantedBy === 'operator';
  });
  await reader.release(1_000);
  const lease = await taking;
  expect(lease.token).toBeGreaterThan(token);
  expect(await holders()).toEqual(['operator']);
  await lease.release();
});

test('all lanes are held while the work is done, and given back when it fails', async () => {
  await resizeGroup({ ...asked, pool: database.pool, group, lanes: 3 });
  const failing = withAllLanes({ ...asked, pool: database.pool, group }, async (leases) => {
    expect(leases.map(({ name }) => name)).toEqual([0, 1, 2].map((lane) => laneLeaseName({ group, lane })));
    expect(await holders()).toEqual(['operator', 'operator', 'operator']);
    throw new Error('it broke');
  });
  await expect(failing).rejects.toThrow('it broke');
  expect(await holders()).toEqual([null, null, null]);
});

test('when one of them is not to be had, the others are given back and nothing is done', async () => {
  await resizeGroup({ ...asked, pool: database.pool, group, lanes: 3 });
  const token = await heldBy('reader', 1);
  let done = false;
  await expect(
    withAllLanes({ pool: database.pool, group, holder: 'operator', timeoutMs: 0 }, async () => {
      done = true;
    }),
  ).rejects.toMatchObject({ code: 'OUTBOX_LANE_BUSY', message: 'reader reads group g, lane 1' });
  expect(done).toBe(false);
  expect(await holders()).toEqual([null, 'reader', null]);
  await releaseLease(database.pool, { name: laneLeaseName({ group, lane: 1 }), token });
});

test('of two who want all of them at once, each has them once', async () => {
  await resizeGroup({ ...asked, pool: database.pool, group, lanes: 3 });
  let inside = 0;
  const work = async (): Promise<void> => {
    inside += 1;
    expect(inside).toBe(1);
    await database.pool.query('select pg_sleep(0.05)');
    inside -= 1;
  };
  await Promise.all(
    ['one', 'two'].map((holder) =>
      withAllLanes({ pool: database.pool, group, holder, timeoutMs: 15_000 }, work),
    ),
  );
  expect(await holders()).toEqual([null, null, null]);
});

test('a group that is not there is unknown', async () => {
  await expect(
    withAllLanes({ ...asked, pool: database.pool, group: 'none' }, async () => undefined),
  ).rejects.toMatchObject({ code: 'OUTBOX_GROUP_UNKNOWN' });
});

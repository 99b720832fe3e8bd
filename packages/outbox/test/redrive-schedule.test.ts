import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { retireGroup } from '../src/group/retire-group.ts';
import { parkingLane } from './parking-lane.ts';
import type { RunningRelay } from './relay-runner.ts';

const lane = parkingLane();

beforeEach(() => {
  lane.schedule = 'pg-boss';
});

const later = { retry: { firstMs: 3_600_000, longestMs: 3_600_000, random: () => 0.999 } };

async function failing(one: RunningRelay, ...labels: string[]): Promise<void> {
  await lane.reading(one);
  await lane.commit(...labels);
  await eventually(async () => (await lane.parked(one)).length === labels.length);
}

function fail(): never {
  throw new Error('no');
}

describe('pg-boss', () => {
  test('has a timer for the first event of each key, at the time when it is due', async () => {
    const one = lane.start({ ...later, handler: fail });
    await failing(one, 'k#1', 'k#2', 'l#3', 'a');
    const { rows } = await lane.pool.query(
      `select p.payload #>> '{}' as label, j.state::text,
              abs(extract(epoch from j.start_after - p.next_attempt_at)) < 5 as "atItsTime"
       from pgboss.job j join outbox.parked p on p.position = (j.data ->> 'position')::bigint and p.group_name = $1
       where j.name = 'outbox/' || $1 || '/0' and j.singleton_key = p.position::text
       order by p.position`,
      [one.group],
    );
    expect(rows).toEqual(['k#1', 'l#3', 'a'].map((label) => ({ label, state: 'created', atItsTime: true })));
  });

  test('has no timer that waits once everything is delivered, and kept what it did', async () => {
    let fails = true;
    const one = lane.start({
      retry: { firstMs: 300, longestMs: 300 },
      handler: () => {
        if (fails) fail();
      },
    });
    await failing(one, 'k#1', 'k#2', 'l#3');
    fails = false;
    await eventually(async () => (await lane.parked(one)).length === 0);
    expect(await lane.timers(one)).toEqual({ completed: 3 });
  });

  test('is asked nothing, and has no queue, while a lane has nothing parked', async () => {
    const one = lane.start();
    await lane.reading(one);
    await lane.commit('k#1');
    await eventually(async () => (await lane.delivered(one)) === 1);
    const { rows } = await lane.pool.query(
      `select from pgboss.queue where name like 'outbox/' || $1 || '%'`,
      [one.group],
    );
    expect(rows).toEqual([]);
  });

  test('has no timer of a dead letter', async () => {
    const one = lane.start({ maxAttempts: 2, handler: fail });
    await failing(one, 'k#1');
    await eventually(async () => (await lane.parked(one))[0]?.state === 'dead');
    expect(await lane.timers(one)).toEqual({ completed: 1 });
  });
});

describe('an event whose timer', () => {
  test.each([
    ['was deleted', `delete from pgboss.job where name = $1`],
    [
      'is in the hands of a worker that died',
      `update pgboss.job set state = 'active', started_on = now() where name = $1`,
    ],
    [
      'was completed by somebody else',
      `update pgboss.job set state = 'completed', completed_on = now() where name = $1`,
    ],
    ['has failed', `update pgboss.job set state = 'failed', completed_on = now() where name = $1`],
  ])('%s is tried all the same when it is due', async (_what, sql) => {
    let fails = true;
    const one = lane.start({
      retry: { firstMs: 500, longestMs: 500, random: () => 0.999 },
      handler: () => {
        if (fails) fail();
      },
    });
    await failing(one, 'k#1', 'k#2');
    await lane.pool.query(sql, [`outbox/${one.group}/0`]);
    fails = false;
    await eventually(async () => (await lane.parked(one)).length === 0);
    expect(one.handled.flat()).toEqual(['k#1', 'k#2']);
  });

  test('runs out though it was discarded: the timer is ended, and nothing handed over', async () => {
    const one = lane.start({ ...later, handler: fail });
    await failing(one, 'k#1', 'l#2');
    await lane.pool.query(`delete from outbox.parked where group_name = $1 and key = 'k'`, [one.group]);
    await lane.pool.query(`update outbox.parked set next_attempt_at = now() where group_name = $1`, [
      one.group,
    ]);
    await lane.pool.query(`update pgboss.job set start_after = now() where name = $1`, [
      `outbox/${one.group}/0`,
    ]);
    await eventually(async () => (await lane.timers(one))['completed'] === 2);
    expect((await lane.parked(one)).map(({ label, attempts }) => [label, attempts])).toEqual([['l#2', 2]]);
  });

  test('was taken by a reader that was replaced is not ended by it', async () => {
    const zombie = await lane.replacedInRedrive();
    expect(await lane.timers(zombie)).toEqual({ active: 1 });
    expect(await lane.parked(zombie)).toHaveLength(1);
  });
});

test('a reader that was replaced parks nothing and sets no timer', async () => {
  const entered = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const one = lane.start({
    ...later,
    handler: async () => {
      entered.resolve();
      await go.promise;
      fail();
    },
  });
  await lane.reading(one);
  await lane.commit('k#1');
  await entered.promise;
  // Unnoticed until the store: a renewal would tell.
  await lane.pool.query(`update pulsebox.lease set token = token + 1 where name = $1`, [
    `outbox/${one.group}/0`,
  ]);
  go.resolve();
  await eventually(() => one.errors.length > 0);
  expect(await lane.parked(one)).toEqual([]);
  expect(await lane.timers(one)).toEqual({});
});

test('a group that is retired leaves no parked event, no mark and no queue, and may come back', async () => {
  const one = lane.start({ ...later, handler: fail });
  await failing(one, 'k#1', 'k#2', 'l#3');
  await one.stop();
  const { group } = one;
  await lane.pool.query(
    `insert into outbox.attempt (group_name, lane, position, attempts) values ($1, 0, 1, 1)`,
    [group],
  );
  // Another group, whose name begins likewise, keeps its own.
  const other = lane.start({ ...later, group: `${group.slice(0, 20)}x`, handler: fail });
  await failing(other, 'm#4');
  await retireGroup({ pool: lane.pool, group, holder: 'operator' });
  const { rows } = await lane.pool.query(
    `select (select count(*) from outbox.parked where group_name = $1)
          + (select count(*) from outbox.attempt where group_name = $1)
          + (select count(*) from pgboss.queue where name like 'outbox/' || $1 || '/%')
          + (select count(*) from pgboss.job where name like 'outbox/' || $1 || '/%') as left`,
    [group],
  );
  expect(rows).toEqual([{ left: '0' }]);
  expect(await lane.timers(other)).toEqual({ created: 1 });

  const again = lane.start({ ...later, group, handler: fail });
  await failing(again, 'n#5');
  expect(await lane.timers(again)).toEqual({ created: 1 });
});

import { transaction } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { deleteGoneQueues } from '../src/group/gone-queues.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { seekGroup } from '../src/group/seek-group.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { parkingLane } from './parking-lane.ts';
import type { RunningRelay } from './relay-runner.ts';

const lane = parkingLane();
const later = { retry: { firstMs: 3_600_000, longestMs: 3_600_000, random: () => 0.999 } };
const labels = Array.from({ length: 24 }, (_, n) => `k${n % 12}#${n + 1}`);

beforeEach(() => {
  lane.schedule = 'pg-boss';
});

async function resize(group: string, lanes: number): Promise<void> {
  const report = await resizeGroup({ pool: lane.pool, group, lanes, holder: 'operator' });
  expect(report.outcome).toBe('changed');
}

/** The numbers of the lanes that have a queue. */
async function queues({ group }: { readonly group: string }): Promise<number[]> {
  const { rows } = await lane.pool.query<{ lane: number }>(
    `select split_part(name, '/', 3)::int as lane from pgboss.queue where starts_with(name, 'outbox/' || $1 || '/')
     order by lane`,
    [group],
  );
  return rows.map((row) => row.lane);
}

/** A group of four lanes, with a failed event and one behind it of twelve keys. */
async function withParked(): Promise<RunningRelay> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(lane.pool, group, 'end');
  await resize(group, 4);
  const one = lane.start({
    ...later,
    group,
    leaseTtlMs: 900,
    handler: () => {
      throw new Error('no');
    },
  });
  await lane.commit(...labels);
  await eventually(async () => (await lane.parked(one)).length === labels.length);
  expect(await queues(one)).toEqual([0, 1, 2, 3]);
  return one;
}

/** A change to two lanes that is under way, and that no reader is there to finish. */
async function barrierForTwo(group: string): Promise<void> {
  await lane.pool.query(
    `update outbox.consumer_group
     set resize_lanes = 2, resize_position = (select max(seq) from outbox.event),
         resize_snapshot = pg_current_snapshot(), resize_ceiling = pg_current_xact_id()
     where name = $1`,
    [group],
  );
}

async function due(group: string): Promise<void> {
  await lane.pool.query(
    'update outbox.parked set next_attempt_at = now() where group_name = $1 and next_attempt_at is not null',
    [group],
  );
}

describe('a group whose lanes become fewer', () => {
  test('leaves no queue of those that are gone, and delivers what was parked in them, in order', async () => {
    const one = await withParked();
    await resize(one.group, 2);
    await eventually(async () => (await queues(one)).join() === '0,1');
    await one.stop();
    await due(one.group);
    const delivered: string[] = [];
    const next = lane.start({
      group: one.group,
      handler: (given) => {
        delivered.push(...given);
      },
    });
    await eventually(async () => (await lane.parked(next)).length === 0);
    for (const key of new Set(labels.map((label) => label.split('#')[0]!)))
      expect(delivered.filter((label) => label.startsWith(`${key}#`))).toEqual(
        labels.filter((label) => label.startsWith(`${key}#`)),
      );
    expect(next.errors).toEqual([]);
  });

  test('and more again, is given queues anew by readers that had them before', async () => {
    const one = await withParked();
    await resize(one.group, 1);
    await eventually(async () => (await queues(one)).join() === '0');
    await resize(one.group, 4);
    await lane.commit(...labels.map((label) => `${label}x`));
    await lane.commit(...Array.from({ length: 24 }, (_, n) => `l${n}#${n}`));
    await eventually(async () => (await queues(one)).join() === '0,1,2,3');
    expect(one.errors).toEqual([]);
  });

  test('through a seek that ends the change leaves none either', async () => {
    const one = await withParked();
    await one.stop();
    const { pool } = lane;
    const { group } = one;
    await lane.commit('m#1');
    await barrierForTwo(group);
    await seekGroup({ pool, group, target: { to: 'end' }, holder: 'operator' });
    expect(await queues(one)).toEqual([0, 1]);
  });

  test('by a change that workers finish, since its command has died, leaves none either', async () => {
    const one = await withParked();
    await one.stop();
    await lane.commit('m#1');
    await barrierForTwo(one.group);
    lane.start({ ...later, group: one.group });
    await eventually(async () => (await queues(one)).join() === '0,1');
  });
});

test('queues that a command left which died at its end go with the next one', async () => {
  const one = await withParked();
  await one.stop();
  const { pool } = lane;
  await pool.query(`select pgboss.create_queue($1, '{"policy": "short"}')`, [
    laneLeaseName({ group: one.group, lane: 9 }),
  ]);
  expect(await queues(one)).toEqual([0, 1, 2, 3, 9]);
  await resizeGroup({ pool, group: one.group, lanes: 4, holder: 'operator' });
  expect(await queues(one)).toEqual([0, 1, 2, 3]);
});

test('a queue that is removed under its reader is made again, and nothing is lost but a turn', async () => {
  const one = lane.start({
    ...later,
    handler: () => {
      throw new Error('no');
    },
  });
  await lane.reading(one);
  await lane.commit('k#1');
  await eventually(async () => (await lane.parked(one)).length === 1);
  await lane.pool.query('select pgboss.delete_queue($1)', [laneLeaseName({ group: one.group, lane: 0 })]);
  await lane.commit('l#2');
  await eventually(async () => (await lane.parked(one)).length === 2);
  expect(await lane.timers(one)).toEqual({ created: 1 });
  expect(one.errors).toEqual([expect.objectContaining({ code: 'JOBS_QUEUE_UNKNOWN' })]);
});

test('queues of a group whose lanes are changed meanwhile are kept by how many it has then', async () => {
  const one = await withParked();
  await one.stop();
  const { pool } = lane;
  await resize(one.group, 2);
  await resize(one.group, 4);
  await pool.query(`select pgboss.create_queue($1, '{"policy": "short"}')`, [
    laneLeaseName({ group: one.group, lane: 3 }),
  ]);
  await transaction(pool, async (client) => deleteGoneQueues(client, one.group));
  expect(await queues(one)).toEqual([0, 1, 3]);
});

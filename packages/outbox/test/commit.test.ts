// Parking, and the outcome of a redrive, are transactions with the timers that belong to them. Workers are killed around
// their COMMIT.

import { eventually, runProgram } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { parkingLane } from './parking-lane.ts';

const lane = parkingLane();
const later = { retry: { firstMs: 3_600_000, longestMs: 3_600_000 } };

beforeEach(() => {
  lane.schedule = 'pg-boss';
});

async function newGroup(): Promise<string> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(lane.pool, group, 'end');
  return group;
}

async function killedAtCommit(options: {
  readonly group: string;
  readonly statement: string;
  readonly moment: 'before' | 'after';
  readonly fails: string;
}): Promise<void> {
  const worker = runProgram('packages/outbox/test/fixtures/commit-worker.ts', {
    env: { COMMIT_WORKER: JSON.stringify({ ...options, databaseUrl: lane.database.url }) },
  });
  expect({ ...(await worker.exited), output: worker.output() }).toEqual({
    code: null,
    signal: 'SIGKILL',
    output: '',
  });
  // The server finds out that nobody is there any more.
  await eventually(async () => {
    const { rows } = await lane.pool.query(
      `select from pg_stat_activity
       where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid() and backend_type = 'client backend'`,
    );
    return rows.length === 0;
  });
}

function failing(given: readonly string[], events: readonly { readonly position: number }[]): object[] {
  return events
    .filter((_event, n) => given[n]?.startsWith('bad') === true)
    .map(({ position }) => ({ position, reason: 'no', retryable: true }));
}

describe('a worker that is killed as it parks events', () => {
  const statement = 'insert into outbox.parked';
  const labels = ['a#1', 'bad#2', 'bad#3', 'c#4'];

  test('before the commit has parked nothing, set no timer and moved no cursor: the next one does all of it once', async () => {
    const group = await newGroup();
    await lane.commit(...labels);
    await killedAtCommit({ group, statement, moment: 'before', fails: 'bad' });
    expect(await lane.parked({ group })).toEqual([]);
    expect(await lane.timers({ group })).toEqual({});
    expect(await lane.delivered({ group })).toBe(0);

    const next = lane.start({
      ...later,
      group,
      handler: (given, { events }) => ({ failed: failing(given, events) as never }),
    });
    await eventually(async () => (await lane.delivered({ group })) === 2);
    expect(next.handled).toEqual([labels]);
    expect((await lane.parked({ group })).map(({ label, attempts }) => [label, attempts])).toEqual([
      ['bad#2', 1],
      ['bad#3', 0],
    ]);
    expect(await lane.timers({ group })).toEqual({ created: 1 });
  });

  test('after the commit has done all of it: the next one repeats nothing', async () => {
    const group = await newGroup();
    await lane.commit(...labels);
    await killedAtCommit({ group, statement, moment: 'after', fails: 'bad' });
    const parked = await lane.parked({ group });
    expect(parked.map(({ label, attempts }) => [label, attempts])).toEqual([
      ['bad#2', 1],
      ['bad#3', 0],
    ]);
    const next = lane.start({ ...later, group });
    await lane.commit('d#5', 'bad#6');
    await eventually(async () => (await lane.delivered({ group })) === 3);
    expect(next.handled).toEqual([['d#5']]);
    expect((await lane.parked({ group })).slice(0, 2)).toEqual(parked);
    expect(await lane.timers({ group })).toEqual({ created: 1 });
  });
});

describe('a worker that is killed as it stores the outcome of a redrive', () => {
  const statement = 'delete from outbox.parked';

  async function withDue(): Promise<string> {
    const first = lane.start({
      ...later,
      handler: () => {
        throw new Error('no');
      },
    });
    await lane.reading(first);
    await lane.commit('k#1', 'k#2', 'l#3');
    await eventually(async () => (await lane.parked(first)).length === 3);
    await first.stop();
    await lane.pool.query(
      'update outbox.parked set next_attempt_at = now() where group_name = $1 and next_attempt_at is not null',
      [first.group],
    );
    await lane.pool.query('update pgboss.job set start_after = now() where name = $1', [
      laneLeaseName({ group: first.group, lane: 0 }),
    ]);
    return first.group;
  }

  test('before the commit has an attempt on its account that nobody saw the end of', async () => {
    const group = await withDue();
    await killedAtCommit({ group, statement, moment: 'before', fails: '' });
    const [first, behind, other] = await lane.parked({ group });
    expect([first, other]).toEqual([
      expect.objectContaining({ label: 'k#1', attempts: 2, attempting: true, reasons: ['no'] }),
      expect.objectContaining({ label: 'l#3', attempts: 2, attempting: true, reasons: ['no'] }),
    ]);
    expect(behind).toMatchObject({ label: 'k#2', attempts: 0, attempting: false, scheduled: false });

    const next = lane.start({ group, retry: { firstMs: 1, longestMs: 1 } });
    await eventually(async () => (await lane.parked({ group })).length === 0);
    // Those that were under way each alone.
    expect(next.handled.flat().toSorted()).toEqual(['k#1', 'k#2', 'l#3']);
    expect(next.handled.filter((call) => call.includes('k#1') || call.includes('l#3'))).toHaveLength(2);
    // Those that the dead worker had taken run out by themselves.
    expect(await lane.timers({ group })).toMatchObject({ active: 2, completed: 3 });
  });

  test('after the commit has delivered them: the next one goes on with what waited', async () => {
    const group = await withDue();
    await killedAtCommit({ group, statement, moment: 'after', fails: '' });
    expect((await lane.parked({ group })).map(({ label, scheduled }) => [label, scheduled])).toEqual([
      ['k#2', true],
    ]);
    const next = lane.start({ group });
    await eventually(async () => (await lane.parked({ group })).length === 0);
    expect(next.handled).toEqual([['k#2']]);
  });
});

import { eventually, runProgram } from '@pulsebox/test-support';
import type { Program } from '@pulsebox/test-support';
import { describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { parkingLane } from './parking-lane.ts';
import type { RunningRelay } from './relay-runner.ts';

const lane = parkingLane();

async function mark(group: string): Promise<{ label: string | null; attempts: number } | undefined> {
  const { rows } = await lane.pool.query<{ label: string | null; attempts: number }>(
    `select e.payload #>> '{}' as label, a.attempts from outbox.attempt a left join outbox.event e on e.seq = a.position
     where a.group_name = $1`,
    [group],
  );
  return rows[0];
}

/** As a worker leaves its lane that was killed. */
async function dies(one: RunningRelay): Promise<void> {
  await lane.takeOver(one);
  await one.stop();
  await lane.pool.query(`update pulsebox.lease set expires_at = now() - interval '1 s' where name = $1`, [
    `outbox/${one.group}/0`,
  ]);
}

/** A reader that read its lane and died in it: another finds traces of its death. */
async function deadReader(settings: { readonly batchSize?: number } = {}): Promise<string> {
  const one = lane.start(settings);
  await lane.reading(one);
  await dies(one);
  return one.group;
}

/** As a reader leaves it that handed over one event after another, and died in the midst of the last one. */
async function markLast(group: string): Promise<void> {
  await lane.pool.query(
    `insert into outbox.attempt (group_name, lane, position, attempts)
     select $1, 0, max(seq), 1 from outbox.event`,
    [group],
  );
}

/** A reader whose sink is away, once it has found that out and pauses. */
async function pausingReader(group: string): Promise<RunningRelay> {
  let calls = 0;
  const one = lane.start({
    group,
    pause: { firstMs: 600_000 },
    handler: () => {
      calls += 1;
      throw sinkAway();
    },
  });
  await eventually(() => calls === 1);
  return one;
}

/** Whether it comes to that before the worker dies. */
async function overBefore(worker: Program, isOver: () => Promise<boolean>): Promise<boolean> {
  const outcome = await eventually(async () => {
    if (await isOver()) return 'over';
    return worker.child.exitCode !== null || worker.child.signalCode !== null ? 'died' : undefined;
  });
  return outcome === 'over';
}

function sinkAway(): SinkError {
  return new SinkError('away', 'TEST_AWAY', 'down', { hint: 'wait' });
}

async function newGroup(): Promise<string> {
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(lane.pool, group, 'end');
  return group;
}

describe('an event that ends its worker', () => {
  test.each([
    ['first delivery', 'kill#2', 0],
    ['redrive', 'late-kill#2', 1],
  ])('at its %s is found out after a few workers, and is a dead letter', async (_when, killer, failures) => {
    const group = await newGroup();
    await lane.commit('a#1', killer, 'b#3', 'c#4', `${killer.split('#')[0]}#5`);
    if (failures > 0) {
      // It failed before it became what it is: parked by a reader that lived.
      const first = lane.start({
        group,
        retry: { firstMs: 1_000, longestMs: 1_000 },
        handler: (given) => {
          if (given.includes(killer)) throw new Error('no');
        },
      });
      await eventually(async () => (await lane.parked({ group })).length === 2);
      await first.stop();
    }
    const settings = { databaseUrl: lane.database.url, group, batchSize: 3, maxAttempts: 3 };
    const given: string[][] = [];
    let deaths = 0;
    for (let over = false; !over; ) {
      const worker = runProgram('packages/outbox/test/fixtures/mortal-worker.ts', {
        env: { MORTAL_WORKER: JSON.stringify(settings) },
      });
      over = await overBefore(worker, async () => {
        const rows = await lane.parked({ group });
        return (
          rows.length === 2 &&
          rows.some(({ state }) => state === 'dead') &&
          (await lane.delivered({ group })) >= 3
        );
      });
      worker.kill('SIGKILL');
      await worker.exited;
      for (const line of worker.log()) given.push(line['given'] as string[]);
      if (!over) deaths += 1;
      expect(deaths).toBeLessThan(10);
    }
    const rows = await lane.parked({ group });
    expect(rows.map(({ label, state }) => [label, state])).toEqual([
      [killer, 'dead'],
      [`${killer.split('#')[0]}#5`, 'parked'],
    ]);
    if (failures === 0) {
      // One with whole batches and no note, one with them and the note, and three that had it alone.
      expect(deaths).toBe(5);
      expect(rows[0]?.attempts).toBe(3);
      expect(rows[0]?.reasons).toEqual([
        '3 times in a row the worker ended while it had this event alone, so it was not handed over again',
      ]);
      expect(given.filter((labels) => labels.join() === killer)).toHaveLength(3);
    } else {
      // Counted from the one that failed: two more, and none of them for its neighbours.
      expect(deaths).toBe(2);
      expect(rows[0]?.reasons).toEqual([
        'no',
        'the worker ended during this attempt',
        'the worker ended during this attempt',
      ]);
    }
    expect(new Set(given.flat())).toEqual(new Set(failures === 0 ? ['a#1', killer, 'b#3', 'c#4'] : [killer]));
  });

  test('is found out alone: nothing that another group was at when it struck is blamed', async () => {
    const [group, slowGroup] = [await newGroup(), await newGroup()];
    await lane.commit('slow#1', 'kill#2');
    const settings = { databaseUrl: lane.database.url, group, slowGroup, batchSize: 3, maxAttempts: 3 };
    for (let deaths = 0, over = false; !over; deaths += 1) {
      expect(deaths).toBeLessThan(10);
      const worker = runProgram('packages/outbox/test/fixtures/mortal-worker.ts', {
        env: { MORTAL_WORKER: JSON.stringify(settings) },
      });
      over = await overBefore(
        worker,
        async () =>
          (await lane.parked({ group })).length === 1 &&
          (await lane.delivered({ group: slowGroup })) + (await lane.parked({ group: slowGroup })).length ===
            2,
      );
      worker.kill('SIGKILL');
      await worker.exited;
    }
    expect((await lane.parked({ group })).map(({ label, state }) => [label, state])).toEqual([
      ['kill#2', 'dead'],
    ]);
    expect(await lane.parked({ group: slowGroup })).toEqual([]);
  });

  test('by never coming back, deaf to every signal, is found out likewise', async () => {
    const group = await newGroup();
    await lane.commit('a#1', 'hang#2', 'b#3');
    const settings = { databaseUrl: lane.database.url, group, batchSize: 3, maxAttempts: 1 };
    let deaths = 0;
    for (;;) {
      const worker = runProgram('packages/outbox/test/fixtures/mortal-worker.ts', {
        env: { MORTAL_WORKER: JSON.stringify(settings) },
      });
      const outcome = await eventually(async () => {
        if (worker.output().includes('hang#2')) return 'hung';
        return (await lane.delivered({ group })) === 2 ? 'over' : undefined;
      });
      // What Kubernetes does once /health has said 503 for long enough.
      worker.kill('SIGKILL');
      await worker.exited;
      if (outcome === 'over') break;
      deaths += 1;
      expect(deaths).toBeLessThan(6);
    }
    expect(deaths).toBe(3);
    expect((await lane.parked({ group })).map(({ label, state }) => [label, state])).toEqual([
      ['hang#2', 'dead'],
    ]);
  });
});

describe('a reader that follows one who died', () => {
  test('hands over whole batches, under a note that is gone once it has caught up', async () => {
    const group = await deadReader();
    const notes: unknown[] = [];
    const second = lane.start({ group, handler: async () => void notes.push(await mark(group)) });
    await lane.commit('a#1', 'b#2', 'c#3');
    await eventually(async () => (await lane.delivered(second)) === 3);
    await eventually(async () => (await mark(group)) === undefined);
    expect(notes[0]).toMatchObject({ attempts: 0 });
    // Not one by one: three events in two calls at most, however the commit and the first look met.
    expect(second.handled.length).toBeLessThanOrEqual(2);
  });

  test('and finds a note hands events over one by one, with a mark before each, until it has passed two batches', async () => {
    const group = await deadReader({ batchSize: 3 });
    const { cursor } = (await loadCursor(lane.pool, { group, lane: 0 }))!;
    await lane.pool.query(
      `insert into outbox.attempt (group_name, lane, position, attempts) values ($1, 0, $2, 0)`,
      [group, cursor.position],
    );
    await lane.commit(...Array.from({ length: 12 }, (_, n) => `k${n}#`));
    const marks: unknown[] = [];
    const second = lane.start({
      group,
      batchSize: 3,
      handler: async (given) => void marks.push([given.length, (await mark(group))?.label === given[0]]),
    });
    await eventually(async () => (await lane.delivered(second)) === 12);
    expect(marks).toEqual([
      ...Array.from({ length: 6 }, () => [1, true]),
      ...Array.from({ length: 2 }, () => [3, false]),
    ]);
    expect(await mark(group)).toBeUndefined();
  });

  test('counts no attempt that ended otherwise than with the worker', async () => {
    const group = await deadReader();
    await lane.commit('a#1');
    await markLast(group);
    let calls = 0;
    const second = lane.start({
      group,
      maxAttempts: 3,
      handler: () => {
        calls += 1;
        if (calls < 8) throw sinkAway();
      },
    });
    await eventually(async () => (await lane.delivered(second)) === 1);
    expect(await lane.parked(second)).toEqual([]);
    await eventually(async () => (await mark(group)) === undefined);
  });

  test('who leaves before it has passed them hands what it knows to the next one', async () => {
    const group = await deadReader();
    await lane.commit('a#1');
    await markLast(group);
    const second = await pausingReader(group);
    expect(await mark(group)).toMatchObject({ attempts: 2 });
    await second.stop();
    expect(await mark(group)).toMatchObject({ attempts: 1 });
  });

  test('who leaves while it hands over whole batches takes its note along: the next one has nothing to fear', async () => {
    const group = await deadReader();
    await lane.commit('a#1');
    const second = await pausingReader(group);
    expect(await mark(group)).toMatchObject({ attempts: 0 });
    await second.stop();
    expect(await mark(group)).toBeUndefined();
  });
});

describe('a batch that runs past its deadline', () => {
  function late(): Error {
    return Object.assign(new Error('too late'), { code: 'LOOP_TICK_DEADLINE' });
  }

  test.each([['among others'], ['alone']])(
    'because of one event %s: that one is parked, and the others are delivered',
    async (where) => {
      let deadline = new AbortController();
      const one = lane.start({
        deadlineMs: 7_000,
        retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
        tickSignal: () => {
          if (deadline.signal.aborted) deadline = new AbortController();
          return deadline.signal;
        },
        handler: (given) => {
          if (given.includes('slow#1')) deadline.abort(late());
        },
      });
      await lane.reading(one);
      await lane.commit(...(where === 'alone' ? ['slow#1'] : ['a#1', 'slow#1', 'b#1', 'slow#2']));
      const others = where === 'alone' ? 0 : 2;
      await eventually(
        async () => (await lane.delivered(one)) === others && (await lane.parked(one)).length > 0,
      );
      expect((await lane.parked(one))[0]).toMatchObject({
        label: 'slow#1',
        state: 'parked',
        attempts: 1,
        reasons: ['not done within 7 s'],
      });
      await lane.commit('c#1');
      await eventually(async () => (await lane.delivered(one)) === others + 1);
      await eventually(async () => (await mark(one.group)) === undefined);
    },
  );
});

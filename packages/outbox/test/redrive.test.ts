import { eventually } from '@pulsebox/test-support';
import { beforeEach, describe, expect, test } from 'vitest';
import { SinkError } from '../src/deliver/sink-error.ts';
import { failingSoOften } from './failing-handlers.ts';
import { parkingLane } from './parking-lane.ts';
import { recordedLog } from './relay-runner.ts';
import type { RunningRelay } from './relay-runner.ts';

const lane = parkingLane();

async function rowOf(one: RunningRelay, label: string): Promise<Awaited<ReturnType<typeof lane.parked>>[0]> {
  const row = (await lane.parked(one)).find((each) => each.label === label);
  if (row === undefined) throw new Error(`${label} is not parked`);
  return row;
}

describe.each(['rows', 'pg-boss'] as const)('on a schedule kept by %s', (schedule) => {
  beforeEach(() => {
    lane.schedule = schedule;
  });

  describe('a parked event', () => {
    test('is tried again, and then what waited behind it, in order and once each', async () => {
      let failures = 3;
      const delivered: string[] = [];
      const one = lane.start({
        handler: (given) => {
          if (given.includes('k#1') && failures > 0) {
            failures -= 1;
            throw new Error('not yet');
          }
          delivered.push(...given);
        },
      });
      await lane.reading(one);
      await lane.commit('k#1', 'l#2', 'k#3', 'k#4');
      await eventually(() => delivered.length === 4);
      await lane.nothingParked(one);
      expect(delivered.filter((label) => label.startsWith('k'))).toEqual(['k#1', 'k#3', 'k#4']);
      expect(one.errors).toEqual([]);
      // Counted with the cursor after it.
      await lane.commit('m#5');
      await eventually(async () => (await lane.delivered(one)) === 5);
    });

    test('that fails again and again in the midst of its key keeps the order of the rest', async () => {
      const delivered: string[] = [];
      const one = lane.start({
        batchSize: 3,
        maxAttempts: 100,
        handler: failingSoOften({ 'k#1': 2, 'k#2': 1, 'k#4': 3, 'l#2': 1 }, delivered),
      });
      await lane.reading(one);
      await lane.commit('k#1', 'l#1', 'k#2', 'l#2', 'k#3', 'k#4', 'k#5', 'l#3');
      await eventually(() => delivered.length >= 8);
      await lane.nothingParked(one);
      await lane.commit('k#6');
      await eventually(() => delivered.includes('k#6'));
      expect(delivered.filter((label) => label.startsWith('k'))).toEqual(
        Array.from({ length: 6 }, (_, n) => `k#${n + 1}`),
      );
      expect(delivered.filter((label) => label.startsWith('l'))).toEqual(['l#1', 'l#2', 'l#3']);
    });

    test('has its attempt counted before its handler runs', async () => {
      const seen: unknown[] = [];
      const one = lane.start({
        handler: async () => {
          const [row] = await lane.parked(one);
          if (row === undefined) throw new Error('first');
          seen.push({ attempts: row.attempts, attempting: row.attempting });
        },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await lane.nothingParked(one);
      await eventually(() => seen.length > 0);
      expect(seen).toEqual([{ attempts: 2, attempting: true }]);
    });

    test('is a dead letter after the last attempt, with every error of its history, and not handed over again', async () => {
      let calls = 0;
      const { log, lines } = recordedLog();
      const one = lane.start({
        maxAttempts: 3,
        handler: (given) => {
          if (!given.includes('k#1')) return;
          calls += 1;
          throw new Error(`no ${calls}`);
        },
        log,
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).state === 'dead');
      expect(await rowOf(one, 'k#1')).toEqual({
        label: 'k#1',
        state: 'dead',
        attempts: 3,
        reasons: ['no 1', 'no 2', 'no 3'],
        waitMs: null,
        attempting: false,
        scheduled: false,
      });
      await lane.commit('l#2');
      await eventually(async () => (await lane.delivered(one)) === 1);
      expect(calls).toBe(3);
      const told = lines.filter(({ level }) => level === 'error' || level === 'warn');
      expect(told.map(({ msg }) => msg.split(':')[0])).toEqual([
        'parked events that failed',
        'parked events failed again',
        'dead letter',
      ]);
      expect(told.at(-1)).toMatchObject({ position: expect.any(Number) as number, key: 'k', reason: 'no 3' });
    });

    test('is dead at once when a redrive finds that no retry can mend it', async () => {
      let calls = 0;
      const one = lane.start({
        maxAttempts: 100,
        handler: () => {
          calls += 1;
          if (calls === 1) throw new Error('perhaps');
          throw new SinkError('rejected', 'TEST_REFUSED', 'never', { hint: 'h' });
        },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).state === 'dead');
      expect((await rowOf(one, 'k#1')).attempts).toBe(2);
    });

    test('waits longer after each failure, and as long as its sink asks', async () => {
      let calls = 0;
      const one = lane.start({
        retry: { firstMs: 40, longestMs: 3_600_000, random: () => 0.999 },
        maxAttempts: 100,
        handler: () => {
          calls += 1;
          if (calls < 3) throw new Error('no');
          throw new SinkError('rejected', 'TEST_LATER', 'later', { hint: 'h', retryAfterMs: 900_000 });
        },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).attempts === 3);
      await eventually(async () => !(await rowOf(one, 'k#1')).attempting);
      expect(Math.round((await rowOf(one, 'k#1')).waitMs ?? 0)).toBe(900_000);
    });

    test('that is replayed is noticed by a reader that rests', async () => {
      let fail = true;
      const one = lane.start({
        maxAttempts: 1,
        handler: () => {
          if (fail) throw new Error('no');
        },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).state === 'dead');
      fail = false;
      await lane.pool.query(
        `update outbox.parked set state = 'parked', attempts = 0, next_attempt_at = clock_timestamp()
       where group_name = $1`,
        [one.group],
      );
      await lane.nothingParked(one);
      expect(one.handled).toEqual([['k#1']]);
    });

    test('keeps the first error and the latest hundred of a history without end', async () => {
      let calls = 0;
      const one = lane.start({
        maxAttempts: 120,
        handler: () => {
          calls += 1;
          throw new Error(`no ${calls}`);
        },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).state === 'dead');
      const { reasons } = await rowOf(one, 'k#1');
      expect(reasons).toHaveLength(100);
      expect([reasons[0], reasons[1], reasons.at(-1)]).toEqual(['no 1', 'no 22', 'no 120']);
    });
  });

  describe('a redrive', () => {
    test('hands over the first of each key together, and every event without one', async () => {
      let fail = true;
      const calls: string[][] = [];
      const one = lane.start({
        maxAttempts: 100,
        retry: { firstMs: 300, longestMs: 300, random: () => 0.999 },
        handler: (given) => {
          if (fail) throw new Error('no');
          calls.push([...given]);
        },
      });
      await lane.reading(one);
      await lane.commit('k#1', 'l#2', 'k#3', 'a', 'b');
      await eventually(async () => (await lane.parked(one)).length === 5);
      fail = false;
      await lane.nothingParked(one);
      expect(calls).toEqual([['k#1', 'l#2', 'a', 'b'], ['k#3']]);
    });

    test('never runs beside a batch of the log, and neither keeps the other waiting', async () => {
      let busy = 0;
      const order: string[] = [];
      const one = lane.start({
        batchSize: 1,
        maxAttempts: 1_000,
        handler: async (given) => {
          busy += 1;
          if (busy > 1) throw new Error('two at once');
          order.push(given[0]!);
          await new Promise((resolve) => setImmediate(resolve));
          busy -= 1;
          if (given.includes('k#1')) throw new Error('no');
        },
      });
      await lane.reading(one);
      await lane.commit('k#1', ...Array.from({ length: 60 }, (_, n) => `l#${n}`));
      await eventually(() => order.includes('l#59'));
      expect((await rowOf(one, 'k#1')).reasons).not.toContain('two at once');
      const steps = order.slice(0, order.indexOf('l#59') + 1);
      // Due at once each time: a redrive after nearly every batch, and never two in a row.
      expect(steps.filter((label) => label === 'k#1').length).toBeGreaterThan(20);
      expect(steps.join(' ')).not.toContain('k#1 k#1 k#1');
      const batches = steps.filter((label) => label !== 'k#1');
      expect(batches).toEqual(Array.from({ length: 60 }, (_, n) => `l#${n}`));
    });

    test('whose sink is away is no attempt: the group pauses, and goes on by itself', async () => {
      let state: 'bad' | 'away' | 'well' = 'bad';
      let calls = 0;
      const one = lane.start({
        maxAttempts: 2,
        handler: () => {
          calls += 1;
          if (state === 'bad') throw new Error('no');
          if (state === 'away') throw new SinkError('away', 'TEST_AWAY', 'down', { hint: 'wait' });
        },
        retry: { firstMs: 200, longestMs: 200, random: () => 0.999 },
      });
      await lane.reading(one);
      await lane.commit('k#1');
      await eventually(async () => (await rowOf(one, 'k#1')).attempts === 1);
      state = 'away';
      await eventually(() => calls > 4);
      expect(one.loop.checks?.()['sink']).toMatchObject({ status: 'degraded' });
      await eventually(async () => {
        const { attempts, attempting } = await rowOf(one, 'k#1');
        return attempts === 1 && !attempting;
      });
      state = 'well';
      await lane.nothingParked(one);
      expect(one.errors).toEqual([]);
    });

    test('of a reader that was replaced settles nothing; the next reader counts the attempt', async () => {
      const zombie = await lane.replacedInRedrive({ maxAttempts: 100 });
      await zombie.stop();
      expect(await lane.parked(zombie)).toEqual([
        expect.objectContaining({ label: 'k#1', attempts: 2, attempting: true, reasons: ['first'] }),
      ]);

      await lane.pool.query(
        `update pulsebox.lease set expires_at = clock_timestamp() - interval '1 s' where name = $1`,
        [`outbox/${zombie.group}/0`],
      );
      const next = lane.start({
        group: zombie.group,
        maxAttempts: 100,
        retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
      });
      await eventually(async () => (await rowOf(next, 'k#1')).reasons.length === 2);
      expect(await rowOf(next, 'k#1')).toMatchObject({
        state: 'parked',
        attempts: 2,
        attempting: false,
        reasons: ['first', 'the worker ended during this attempt'],
      });
    });

    test('of events that were under way when their worker ended takes them one by one', async () => {
      const first = lane.start({
        retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
        handler: () => {
          throw new Error('no');
        },
      });
      await lane.reading(first);
      await lane.commit('a#1', 'b#2', 'c#3', 'd#4');
      await eventually(async () => (await lane.parked(first)).length === 4);
      await first.stop();
      // As a worker leaves them that was killed with three of them in its hands.
      await lane.pool.query(
        `update outbox.parked set next_attempt_at = now(),
              attempts = case when key = 'd' then attempts else 2 end,
              attempting_since = case when key = 'd' then null else now() end
       where group_name = $1`,
        [first.group],
      );
      const second = lane.start({ group: first.group });
      await lane.nothingParked(second);
      expect(second.handled.map((call) => call.join()).toSorted()).toEqual(['a#1', 'b#2', 'c#3', 'd#4']);
    });

    test('whose worker ended for the last time leaves a dead letter', async () => {
      const first = lane.start({
        retry: { firstMs: 3_600_000, longestMs: 3_600_000 },
        handler: () => {
          throw new Error('no');
        },
      });
      await lane.reading(first);
      await lane.commit('a#1');
      await eventually(async () => (await lane.parked(first)).length === 1);
      await first.stop();
      await lane.pool.query(
        `update outbox.parked set next_attempt_at = now(), attempts = 5, attempting_since = now() where group_name = $1`,
        [first.group],
      );
      const second = lane.start({ group: first.group, maxAttempts: 5 });
      await eventually(async () => (await rowOf(second, 'a#1')).state === 'dead');
      expect(second.handled).toEqual([]);
      expect((await rowOf(second, 'a#1')).reasons.at(-1)).toBe('the worker ended during this attempt');
    });

    test.each([
      ['claim', 'attempts = p.attempts + 1'],
      ['outcome', 'delete from outbox.parked'],
    ])('whose %s got no answer is done again, and counts once', async (_what, text) => {
      const { proxy, pool } = await lane.throughProxy();
      let fail = true;
      const one = lane.start({
        pool,
        maxAttempts: 2,
        retry: { firstMs: 300, longestMs: 300, random: () => 0.999 },
        handler: () => {
          if (fail) throw new Error('no');
        },
      });
      await lane.reading(one);
      await lane.commit('k#1', 'k#2');
      await eventually(async () => (await lane.parked(one)).length === 2);
      fail = false;
      await proxy.loseAnswerTo(text);
      await lane.nothingParked(one);
      expect([...new Set(one.handled.flat())]).toEqual(['k#1', 'k#2']);
    });
  });

  describe('a redrive that runs past its deadline', () => {
    function late(): Error {
      return Object.assign(new Error('too late'), { code: 'LOOP_TICK_DEADLINE' });
    }

    test('finds out which of its events it is, one by one, and that one has failed', async () => {
      let fail = true;
      let deadline = new AbortController();
      const calls: string[][] = [];
      const one = lane.start({
        maxAttempts: 2,
        deadlineMs: 7_000,
        retry: { firstMs: 300, longestMs: 300, random: () => 0.999 },
        tickSignal: () => {
          if (deadline.signal.aborted) deadline = new AbortController();
          return deadline.signal;
        },
        handler: (given) => {
          if (fail) throw new Error('no');
          calls.push([...given]);
          if (given.includes('b#2')) deadline.abort(late());
        },
      });
      await lane.reading(one);
      await lane.commit('a#1', 'b#2', 'c#3');
      await eventually(async () => (await lane.parked(one)).length === 3);
      fail = false;
      await eventually(async () => (await lane.parked(one)).length === 1);
      await eventually(async () => (await rowOf(one, 'b#2')).state === 'dead');
      expect(await rowOf(one, 'b#2')).toMatchObject({ attempts: 2, reasons: ['no', 'not done within 7 s'] });
      expect(calls[0]).toEqual(['a#1', 'b#2', 'c#3']);
      const after = calls.slice(1).map((call) => call.join());
      expect(after.toSorted()).toEqual(['a#1', 'b#2', 'c#3']);
    });
  });
});

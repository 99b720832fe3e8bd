import { acquireLease } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { describe, expect, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import type { OutboxEvent } from '../src/log/event.ts';
import { storeCursorAndPark } from '../src/parked/park.ts';
import { seekGroup } from '../src/group/seek-group.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { parkingLane } from './parking-lane.ts';
import { recordedLog } from './relay-runner.ts';
import type { RunningRelay } from './relay-runner.ts';

const lane = parkingLane();

/** So that what is parked stays parked for as long as the test lasts. */
const never = { retry: { firstMs: 3_600_000, random: () => 0.999 } };

function failingOn(...bad: string[]): (labels: readonly string[]) => void {
  return (labels) => {
    const found = labels.find((label) => bad.includes(label));
    if (found !== undefined) throw new Error(`cannot take ${found}`);
  };
}

async function labels(of: RunningRelay, state: 'parked' | 'dead'): Promise<string[]> {
  const rows = await lane.parked(of);
  return rows.filter((row) => row.state === state).map(({ label }) => label);
}

describe('an event that fails', () => {
  test('among 500 is parked with its reason, costs few calls, and keeps nothing behind it waiting', async () => {
    const calls: number[] = [];
    const one = lane.start({
      ...never,
      handler: (given) => {
        calls.push(given.length);
        failingOn('x250#1')(given);
      },
    });
    await lane.reading(one);
    await lane.commit(...Array.from({ length: 501 }, (_, n) => `x${n}#1`));
    await eventually(async () => (await lane.delivered(one)) === 500);
    expect(calls.length).toBeLessThanOrEqual(2 + 2 * 9);
    expect(one.errors).toEqual([]);
    expect(await lane.parked(one)).toEqual([
      expect.objectContaining({
        label: 'x250#1',
        state: 'parked',
        attempts: 1,
        reasons: ['cannot take x250#1'],
        scheduled: true,
      }),
    ]);
  });

  test('as its handler reports, is parked without a further call', async () => {
    let calls = 0;
    const one = lane.start({
      ...never,
      handler: (_given, { events }) => {
        calls += 1;
        return { failed: [{ position: events[1]!.position, reason: 'refused', retryable: true }] };
      },
    });
    await lane.reading(one);
    await lane.commit('k#1', 'l#2', 'm#3');
    await eventually(async () => (await lane.delivered(one)) === 2);
    expect(calls).toBe(1);
    expect(await labels(one, 'parked')).toEqual(['l#2']);
  });

  test('that no retry can mend is a dead letter at once, and a person can tell from the log', async () => {
    const { log, lines } = recordedLog();
    const one = lane.start({
      handler: () => {
        throw new SinkError('rejected', 'TEST_REFUSED', 'too large', { hint: 'h' });
      },
      log,
    });
    await lane.reading(one);
    await lane.commit('k#1');
    await eventually(async () => (await labels(one, 'dead')).length === 1);
    await eventually(() => lines.some(({ level }) => level === 'error'));
    expect(lines.find(({ level }) => level === 'error')).toMatchObject({
      msg: 'dead letter: this event is not tried again until somebody replays it',
      group: one.group,
      topic: 'test.written',
      key: 'k',
      attempts: 1,
      reason: 'too large',
    });
  });

  test('waits at least as long as its sink asked, whether that was thrown or reported', async () => {
    const one = lane.start({
      handler: (given, { events }) => {
        if (given[0] === 'k#1') {
          throw new SinkError('rejected', 'TEST_LATER', 'slow down', { hint: 'h', retryAfterMs: 600_000 });
        }
        const position = events[0]!.position;
        return { failed: [{ position, reason: 'later', retryable: true, retryAfterMs: 700_000 }] };
      },
    });
    await lane.reading(one);
    await lane.commit('k#1');
    await eventually(async () => (await lane.parked(one)).length === 1);
    await lane.commit('l#2');
    await eventually(async () => (await lane.parked(one)).length === 2);
    const waits = (await lane.parked(one)).map(({ waitMs }) => Math.round((waitMs ?? 0) / 1_000));
    expect(waits).toEqual([600, 700]);
  });

  test('is parked whatever its reason and its payload are made of', async () => {
    const one = lane.start({
      ...never,
      handler: () => {
        throw new Error(`nul \0 half \uD83D`);
      },
    });
    await lane.reading(one);
    await lane.pool.query(
      `insert into outbox.event (topic, key, payload) values ('test.written', 'k', '{"n": 12345678901234567890.125}')`,
    );
    await eventually(async () => (await lane.parked(one)).length === 1);
    const { rows } = await lane.pool.query(
      `select payload ->> 'n' as n, errors -> 0 ->> 'reason' as reason from outbox.parked where group_name = $1`,
      [one.group],
    );
    expect(rows).toEqual([{ n: '12345678901234567890.125', reason: 'nul \uFFFD half \uFFFD' }]);
  });
});

describe('order within a key', () => {
  test('is kept: later events of it are parked behind, without being handed over, and others go on', async () => {
    const seen: string[] = [];
    const one = lane.start({
      ...never,
      batchSize: 3,
      handler: (given) => {
        seen.push(...given);
        failingOn('k#1')(given);
      },
    });
    await lane.reading(one);
    await lane.commit('k#1', 'l#2', 'k#3');
    await lane.commit('k#4', 'm#5', 'k#6');
    await eventually(async () => (await lane.delivered(one)) === 2);
    const rows = await lane.parked(one);
    expect(rows.map(({ label, attempts, scheduled }) => [label, attempts, scheduled])).toEqual([
      ['k#1', 1, true],
      ['k#3', 0, false],
      ['k#4', 0, false],
      ['k#6', 0, false],
    ]);
    // k#3 was in the first call, beside k#1; nothing behind it ever was in any.
    expect(seen).not.toContain('k#4');
    expect(seen).not.toContain('k#6');
  });

  test('is held by a dead letter, until it is discarded', async () => {
    const bad = failingOn('k#1');
    const one = lane.start({ maxAttempts: 1, handler: bad });
    await lane.reading(one);
    await lane.commit('k#1');
    await eventually(async () => (await labels(one, 'dead')).length === 1);
    await lane.commit('k#2', 'l#3', 'k#4');
    await eventually(async () => (await labels(one, 'parked')).length === 2);
    expect(one.handled).toEqual([['l#3']]);
    await lane.pool.query(`delete from outbox.parked where group_name = $1 and state = 'dead'`, [one.group]);
    await eventually(async () => (await lane.parked(one)).length === 0);
    expect(one.handled.flat()).toEqual(['l#3', 'k#2', 'k#4']);
  });

  test('is none for events without a key, and none in a group that says so', async () => {
    const free = lane.start({ ...never, handler: failingOn('k#1', 'a') });
    const unordered = lane.start({ ...never, order: 'none', handler: failingOn('k#1', 'a') });
    await lane.reading(free);
    await lane.reading(unordered);
    await lane.commit('a', 'k#1');
    await eventually(async () => (await lane.parked(free)).length === 2);
    await eventually(async () => (await lane.parked(unordered)).length === 2);
    await lane.commit('b', 'k#2');
    await eventually(async () => (await lane.delivered(unordered)) === 2);
    await eventually(async () => (await lane.delivered(free)) === 1);
    expect(unordered.handled.flat()).toEqual(['b', 'k#2']);
    expect(free.handled.flat()).toEqual(['b']);
  });

  test('survives a seek backwards: what is parked stays as it is, and holds only what is behind it', async () => {
    const one = lane.start({ ...never, maxAttempts: 1, handler: failingOn('k#2') });
    await lane.reading(one);
    const position = (await loadCursor(lane.pool, { group: one.group, lane: 0 }))!.cursor.position;
    await lane.commit('k#1', 'k#2', 'k#3');
    await eventually(async () => (await lane.parked(one)).length === 2);
    const before = await lane.parked(one);
    const target = { to: 'position', position } as const;
    await seekGroup({ pool: lane.pool, group: one.group, target, holder: 'test' });
    await eventually(() => one.handled.length === 2);
    await lane.commit('k#4');
    await eventually(async () => (await lane.parked(one)).length === 3);
    expect(one.handled).toEqual([['k#1'], ['k#1']]);
    expect((await lane.parked(one)).slice(0, 2)).toEqual(before);
  });
});

describe('parking and progress', () => {
  test('are stored together or not at all: a reader that was replaced parks nothing', async () => {
    const go = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const one = lane.start({
      handler: async (_given, { events }) => {
        entered.resolve();
        await go.promise;
        return { failed: [{ position: events[0]!.position, reason: 'no', retryable: true }] };
      },
    });
    await lane.reading(one);
    await lane.commit('k#1');
    await entered.promise;
    await lane.takeOver(one);
    go.resolve();
    await eventually(() => one.errors.length > 0);
    expect(one.errors).toEqual([expect.objectContaining({ code: 'OUTBOX_LEASE_LOST' })]);
    expect(await lane.parked(one)).toEqual([]);
    expect(await lane.delivered(one)).toBe(0);
  });

  test('whose answer is lost are not repeated: the event is parked once, and the key is held', async () => {
    const { proxy, pool } = await lane.throughProxy();
    const one = lane.start({ ...never, pool, handler: failingOn('k#1') });
    await lane.reading(one);
    const lost = proxy.loseAnswerTo('insert into outbox.parked');
    await lane.commit('k#1', 'l#2');
    await lost;
    await eventually(async () => (await lane.delivered(one)) === 1);
    await lane.commit('k#3', 'm#4');
    await eventually(async () => (await lane.delivered(one)) === 2);
    expect(one.handled.flat()).toEqual(['l#2', 'm#4']);
    expect(await labels(one, 'parked')).toEqual(['k#1', 'k#3']);
  });

  test('go on across readers: the next one knows what is held', async () => {
    const first = lane.start({ ...never, handler: failingOn('k#1') });
    await lane.reading(first);
    await lane.commit('k#1');
    await eventually(async () => (await lane.parked(first)).length === 1);
    await first.stop();
    await lane.commit('k#2', 'l#3');
    const second = lane.start({ ...never, group: first.group });
    await eventually(async () => (await lane.delivered(second)) === 1);
    expect(second.handled).toEqual([['l#3']]);
  });
});

describe('a dead letter that is discarded while events are parked behind it', () => {
  async function deadLetter(): Promise<RunningRelay> {
    const one = lane.start({ maxAttempts: 1, handler: failingOn('k#1') });
    await lane.reading(one);
    await lane.commit('k#1');
    await eventually(async () => (await labels(one, 'dead')).length === 1);
    await one.stop();
    return one;
  }
  const DISCARD = `delete from outbox.parked where group_name = $1 and state = 'dead'`;

  test('between the look for held keys and the store: what is parked then is due', async () => {
    const dead = await deadLetter();
    const one = lane.start({
      group: dead.group,
      // The look is behind it when the handler runs, and the store before it.
      handler: async (given) => {
        if (given.includes('l#2')) await lane.pool.query(DISCARD, [dead.group]);
      },
    });
    await lane.reading(one);
    await lane.commit('l#2', 'k#3', 'k#4');
    await eventually(async () => (await lane.delivered(one)) === 1);
    await eventually(() => one.handled.flat().includes('k#4'));
    expect(one.handled.flat()).toEqual(['l#2', 'k#3', 'k#4']);
    await eventually(async () => (await lane.parked(one)).length === 0);
  });

  test('in a transaction that the store has to wait for: the same', async () => {
    const dead = await deadLetter();
    const operator = await lane.pool.connect();
    try {
      const one = lane.start({
        group: dead.group,
        handler: async (given) => {
          if (!given.includes('l#2')) return;
          await operator.query('begin');
          await operator.query(DISCARD, [dead.group]);
        },
      });
      await lane.reading(one);
      await lane.commit('l#2', 'k#3');
      await eventually(async () => blocksSomebody(lane.pool, operator));
      await operator.query('commit');
      await eventually(
        async () => one.handled.flat().includes('k#3') && (await lane.parked(one)).length === 0,
      );
    } finally {
      operator.release();
    }
  });

  test('in a transaction that waits for the store: the same', async () => {
    const dead = await deadLetter();
    const [event] = await eventsOf(dead, 'k#2');
    const held = { group: dead.group, lane: 0 };
    const attempt = await acquireLease(lane.pool, { name: laneLeaseName(held), holder: 'x', ttlMs: 60_000 });
    if (!attempt.acquired) throw new Error('held');
    const stored = (await loadCursor(lane.pool, held))!;
    const storing = await lane.pool.connect();
    try {
      await storing.query('begin');
      const next = { ...stored, token: attempt.token, batch: 1 };
      const outcome = await storeCursorAndPark(storing, held, next, [{ event: event!, failed: undefined }]);
      expect(outcome).toEqual({ advanced: true, parked: 1 });
      const discarding = lane.pool.query(DISCARD, [dead.group]);
      await eventually(async () => blocksSomebody(lane.pool, storing));
      await storing.query('commit');
      await discarding;
      expect(await lane.parked(dead)).toEqual([
        expect.objectContaining({ label: 'k#2', state: 'parked', scheduled: true }),
      ]);
    } finally {
      storing.release();
    }
  });

  async function eventsOf(_: RunningRelay, label: string): Promise<OutboxEvent[]> {
    await lane.commit(label);
    const { rows } = await lane.pool.query<{ position: number }>(
      `select max(seq)::float8 as position from outbox.event`,
    );
    const { position } = rows[0]!;
    return [
      {
        position,
        topic: 'test.written',
        key: label.split('#')[0]!,
        payload: label,
        headers: {},
        createdAt: new Date(),
      },
    ];
  }
});

async function blocksSomebody(pool: Pool, by: { query: Pool['query'] }): Promise<boolean> {
  const { rows: own } = await by.query<{ pid: number }>('select pg_backend_pid() as pid');
  const { rows } = await pool.query<{ n: number }>(
    'select count(*)::int as n from pg_stat_activity where $1 = any(pg_blocking_pids(pid))',
    [own[0]!.pid],
  );
  return rows[0]!.n > 0;
}

test('a group without parked events asks nothing about them from batch to batch', async () => {
  const asked: string[] = [];
  const connect = lane.pool.connect.bind(lane.pool);
  const counting = new Proxy(lane.pool, {
    get(target, property) {
      if (property !== 'connect') return Reflect.get(target, property) as unknown;
      return async (): Promise<unknown> => {
        const client = await connect();
        return new Proxy(client, {
          get(inner, name) {
            const value = Reflect.get(inner, name) as unknown;
            if (typeof value !== 'function') return value;
            return (...args: unknown[]): unknown => {
              const [first] = args;
              if (name === 'query')
                asked.push(typeof first === 'string' ? first : (first as { text: string }).text);
              return (value as (...given: unknown[]) => unknown).apply(inner, args);
            };
          },
        });
      };
    },
  });
  const group = `g-${crypto.randomUUID()}`;
  await registerGroup(lane.pool, group, 'end');
  const one = lane.start({ pool: counting, group, batchSize: 1 });
  await lane.reading(one);
  await lane.commit(...Array.from({ length: 50 }, (_, n) => `k#${n}`));
  await eventually(async () => (await lane.delivered(one)) === 50);
  await one.stop();
  const about = (table: string): number => asked.filter((text) => text.includes(table)).length;
  // Whether there are any and what is due, when it began; the latter again every few seconds.
  expect(about('outbox.parked')).toBeLessThan(8);
  expect(about('outbox.attempt')).toBe(1);
  // Once to register the group.
  expect(asked.filter((text) => text.includes('insert into outbox.cursor'))).toHaveLength(51);
});

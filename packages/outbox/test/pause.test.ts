import { createRegistry } from '@pulsebox/loop';
import { acquireLease, createPool, requestHandover } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { emitAll } from '../src/log/emit.ts';
import { discardDead } from '../src/dead/dead-discard.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { groupStatus } from '../src/group/group-status.ts';
import type { LanePause } from '../src/group/group-status.ts';
import { createPause } from '../src/lane/pause.ts';
import { NOTE_PAUSE } from '../src/lane/pause-note.ts';
import { SinkError } from '../src/deliver/sink-error.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { quiet, recordedLog, runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

let database: TestDatabase;
const running: RunningRelay[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(running.splice(0).map(async (one) => one.stop()));
});
afterAll(async () => {
  await database.drop();
});

function away(retryAfterMs?: number): SinkError {
  return new SinkError('away', 'TEST_SINK_AWAY', 'nobody there', { hint: 'wait', retryAfterMs });
}

async function start(options: Partial<RunOptions>): Promise<RunningRelay> {
  const one = runRelay({
    pool: database.pool,
    startFrom: 'end',
    pause: { firstMs: 10, longestMs: 40 },
    ...options,
  });
  running.push(one);
  await eventually(() => one.ticks() > 0);
  return one;
}

async function commit(...labels: string[]): Promise<void> {
  const events = labels.map((payload) => ({ topic: 't', key: payload.split('#')[0] ?? null, payload }));
  await emitAll(database.pool, events, { autocommit: true });
}

async function delivered({ group }: RunningRelay): Promise<number | undefined> {
  return (await loadCursor(database.pool, { group, lane: 0 }))?.delivered;
}

/** As an operator sees it who does not know which worker reads the group. */
async function toldOf({ group }: RunningRelay): Promise<LanePause | null | undefined> {
  return (await groupStatus(database.pool)).find((status) => status.group === group)?.paused;
}

describe('a group whose sink is away', () => {
  test('pauses with its cursor where it is, says so, and resumes by itself', async () => {
    let isAway = true;
    let calls = 0;
    const registry = createRegistry();
    const { log, lines } = recordedLog();
    const one = await start({
      metrics: outboxMetrics(registry),
      log,
      handler: () => {
        calls += 1;
        if (isAway) throw away();
      },
    });
    expect(one.loop.checks?.()['sink']).toEqual({ status: 'ok' });
    expect(await registry.metrics()).toContain(`outbox_group_paused{group="${one.group}"} 0`);
    await commit('k#1', 'k#2', 'k#3');
    await eventually(() => calls > 4);
    expect(one.loop.checks?.()['sink']).toEqual({
      status: 'degraded',
      detail: expect.stringMatching(/^away since \S+Z, next try at \S+Z$/) as string,
    });
    expect(await registry.metrics()).toContain(`outbox_group_paused{group="${one.group}"} 1`);
    expect(await delivered(one)).toBe(0);

    isAway = false;
    await eventually(async () => (await delivered(one)) === 3);
    expect(one.handled).toEqual([['k#1', 'k#2', 'k#3']]);
    expect(one.loop.checks?.()['sink']).toEqual({ status: 'ok' });
    expect(await registry.metrics()).toContain(`outbox_group_paused{group="${one.group}"} 0`);
    // Its ticks succeeded: nothing to restart a worker for, nothing to count as an error.
    expect(one.errors).toEqual([]);
    const told = lines.filter(({ msg }) => msg.startsWith('the sink is'));
    expect(told.map(({ msg }) => msg)).toEqual([
      'the sink is away: the group pauses, and resumes by itself',
      'the sink is back: the group has resumed',
    ]);
    expect(told[1]).toMatchObject({ group: one.group, failures: calls - 1 });
  });

  test('hands nothing over before its wait is over, however often it is woken', async () => {
    let calls = 0;
    const one = await start({
      pause: { firstMs: 600_000, longestMs: 600_000 },
      handler: () => {
        calls += 1;
        throw away();
      },
    });
    await commit('k#1');
    await eventually(() => calls === 1);
    const ticksThen = one.ticks();
    await eventually(() => {
      one.waker.wake();
      return one.ticks() > ticksThen + 20;
    });
    expect(calls).toBe(1);
    expect(one.restingMs()).toBeLessThanOrEqual(5_000);
  });

  test('hands its lane over to one who asks, and is no longer paused here', async () => {
    const registry = createRegistry();
    let calls = 0;
    const one = await start({
      leaseTtlMs: 300,
      pollMs: 5_000,
      metrics: outboxMetrics(registry),
      pause: { firstMs: 600_000 },
      handler: () => {
        calls += 1;
        throw away();
      },
    });
    await commit('k#1');
    await eventually(() => calls === 1);
    const name = laneLeaseName({ group: one.group, lane: 0 });
    await requestHandover(database.pool, { name, wantedBy: 'the next one' });
    await eventually(async () => !(await registry.metrics()).includes(`paused{group="${one.group}"}`));
    expect(one.loop.checks?.()['sink']).toEqual({ status: 'ok' });
  });
});

describe('what the database is told of a pause', () => {
  test('is since when, until when and the first line of why, and ends with it', async () => {
    let isAway = true;
    const one = await start({
      handler: () => {
        if (!isAway) return;
        const message = 'nobody\0there\nand a page of HTML';
        throw new SinkError('away', 'TEST_SINK_AWAY', message, { hint: 'wait' });
      },
    });
    expect(await toldOf(one)).toBeNull();
    await commit('k#1');
    await eventually(async () => (await toldOf(one)) !== null);
    const first = await toldOf(one);
    expect(first).toEqual({
      since: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      nextTryAt: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      code: 'TEST_SINK_AWAY',
      reason: 'nobody there',
    });
    await eventually(async () => (await toldOf(one))?.nextTryAt !== first?.nextTryAt);
    isAway = false;
    await eventually(async () => (await toldOf(one)) === null);
    await eventually(async () => (await delivered(one)) === 1);
    const { rows } = await database.pool.query('select from outbox.pause where group_name = $1', [one.group]);
    expect(rows).toEqual([]);
  });

  test('is nothing any more when its reader has died, and none of the next one', async () => {
    let calls = 0;
    const one = await start({
      pause: { firstMs: 600_000 },
      // It does not renew in the midst of what follows.
      leaseTtlMs: 600_000,
      handler: () => {
        calls += 1;
        throw away();
      },
    });
    await commit('k#1');
    await eventually(async () => (await toldOf(one)) !== null);
    const name = laneLeaseName({ group: one.group, lane: 0 });
    await database.pool.query(`update pulsebox.lease set expires_at = clock_timestamp() where name = $1`, [
      name,
    ]);
    expect(await toldOf(one)).toBeNull();
    const next = await acquireLease(database.pool, { name, holder: 'the next one', ttlMs: 60_000 });
    expect(next.acquired).toBe(true);
    expect(await toldOf(one)).toBeNull();
    expect(calls).toBe(1);
  });

  test('is written once a try, and by no look that finds nothing to try', async () => {
    let calls = 0;
    const one = await start({
      retry: { firstMs: 10 },
      handler: () => {
        calls += 1;
        throw calls === 1 ? new Error('bad') : away();
      },
    });
    await commit('k#1');
    await eventually(async () => (await toldOf(one)) !== null);
    // Nothing is left to be tried, and whether the sink is back nobody knows.
    await eventually(async () => {
      const filter = { group: one.group };
      return (await discardDead(database.pool, { filter, state: 'parked' })).discarded === 1;
    });
    const callsThen = calls;
    const ticksThen = one.ticks();
    await eventually(() => one.ticks() > ticksThen + 2);
    const told = await toldOf(one);
    expect(told).not.toBeNull();
    await eventually(() => {
      one.waker.wake();
      return one.ticks() > ticksThen + 20;
    });
    expect(await toldOf(one)).toEqual(told);
    expect(calls).toBe(callsThen);
  });

  test('is taken back at the end, also where it was stored and the answer did not come', async () => {
    const pool = createPool({
      connection: { connectionString: database.url },
      max: 5,
      onIdleError: () => undefined,
    });
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (config: unknown, values?: unknown[]) => Promise<unknown>;
      const unanswered = async (config: unknown, values?: unknown[]): Promise<unknown> => {
        const result = await query(config, values);
        if (config === NOTE_PAUSE) throw new Error('no answer');
        return result;
      };
      Object.assign(client, { query: unanswered });
    });
    let isAway = true;
    const one = await start({
      pool,
      handler: () => {
        if (isAway) throw away();
      },
    });
    await commit('k#1');
    await eventually(async () => (await toldOf(one)) !== null);
    isAway = false;
    await eventually(async () => (await delivered(one)) === 1);
    await eventually(async () => (await toldOf(one)) === null);
    await one.stop();
    await pool.end();
  });

  test('may fail, and keeps nothing up', async () => {
    await database.pool.query('alter table outbox.pause rename to pause_elsewhere');
    try {
      let isAway = true;
      let calls = 0;
      const one = await start({
        handler: () => {
          calls += 1;
          if (isAway) throw away();
        },
      });
      await commit('k#1');
      await eventually(() => calls > 2);
      isAway = false;
      await eventually(async () => (await delivered(one)) === 1);
      expect(one.errors).toEqual([]);
    } finally {
      await database.pool.query('alter table outbox.pause_elsewhere rename to pause');
    }
  });
});

describe('the wait', () => {
  test('doubles from the first to the longest, the upper half of it random', () => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    for (const [random, share] of [
      [0, 0.5],
      [0.5, 0.75],
    ] as const) {
      const pause = createPause(
        'g',
        { firstMs: 100, longestMs: 1_000, random: () => random },
        () => undefined,
      );
      const waits = Array.from({ length: 6 }, () => {
        pause.begin(away(), quiet);
        return Math.round(pause.remainingMs());
      });
      expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000].map((ms) => ms * share));
    }
  });

  test('is never shorter than the sink asked for, also above the longest, and is over when it has passed', () => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    const pause = createPause('g', { firstMs: 100, longestMs: 1_000 }, () => undefined);
    expect(pause.remainingMs()).toBe(0);
    pause.begin(away(90_000), quiet);
    expect(pause.remainingMs()).toBe(90_000);
    vi.advanceTimersByTime(89_999);
    expect(pause.remainingMs()).toBe(1);
    vi.advanceTimersByTime(1);
    expect(pause.remainingMs()).toBe(0);
  });

  test.each([
    [Number.MAX_VALUE, 86_400_000],
    [Number.POSITIVE_INFINITY, 86_400_000],
    [-1, 50],
    [Number.NaN, 50],
  ])('of a sink that asks for %d ms lasts %d ms', (asked, expected) => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    const pause = createPause('g', { firstMs: 100, random: () => 0 }, () => undefined);
    pause.begin(away(asked), quiet);
    expect(pause.remainingMs()).toBe(expected);
  });

  test('starts from the first again after the sink was back', () => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    const changes: boolean[] = [];
    const pause = createPause('g', { firstMs: 100, random: () => 0 }, (paused) => changes.push(paused));
    pause.begin(away(), quiet);
    pause.begin(away(), quiet);
    pause.end(quiet);
    pause.end(quiet);
    pause.begin(away(), quiet);
    expect(pause.remainingMs()).toBe(50);
    expect(changes).toEqual([true, false, true]);
  });
});

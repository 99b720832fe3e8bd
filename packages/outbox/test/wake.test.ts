import { acquireLease } from '@pulsebox/postgres';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import pg from 'pg';
import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { emit } from '../src/log/emit.ts';
import { setNotifyChannel } from '../src/log/notify-channel.ts';
import { laneLeaseName } from '../src/lease/lane-of-group.ts';
import { announceSleep, createRests } from '../src/lane/sleep.ts';
import type { Rests } from '../src/lane/sleep.ts';
import { createWaker } from '../src/lane/waker.ts';
import type { Waker } from '../src/lane/waker.ts';
import { quiet, runRelay } from './relay-runner.ts';
import type { RunningRelay, RunOptions } from './relay-runner.ts';

let database: TestDatabase;
let observer: Client;
let notifications = 0;
const running: RunningRelay[] = [];
const wakers: Waker[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
beforeEach(async () => {
  notifications = 0;
  await database.pool.query(`select setval('outbox.sleeping_until', 0)`);
  observer = new pg.Client({ connectionString: database.url });
  await observer.connect();
  observer.on('notification', () => (notifications += 1));
  await observer.query('listen outbox_event');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (one) => one.stop()));
  await Promise.all(wakers.splice(0).map(async (one) => one.close()));
  await observer.end();
});
afterAll(async () => {
  await database.drop();
});

async function listeningWaker(): Promise<Waker> {
  const waker = createWaker({ connection: { connectionString: database.url }, log: quiet });
  wakers.push(waker);
  await eventually(() => waker.state === 'listening');
  return waker;
}

/** Rests so long that a test that waits for their end would fail. */
function sleeper(waker: Waker, options: Partial<RunOptions> = {}): RunningRelay {
  const one = runRelay({
    pool: database.pool,
    startFrom: 'end',
    waker,
    pollMs: 600_000,
    idleWaitMs: 600_000,
    leaseTtlMs: 600_000,
    ...options,
  });
  running.push(one);
  return one;
}

/** Rests double from a few milliseconds: one of this length ends by a wake-up, or long after the test. */
async function asleep(one: RunningRelay): Promise<void> {
  await eventually(() => one.restingMs() > 500);
}

async function commit(payload: string): Promise<void> {
  await emit(database.pool, { topic: 'test.written', payload }, { autocommit: true });
}

async function announcedUntil(): Promise<number> {
  const { rows } = await database.pool.query<{ v: string }>(
    'select last_value as v from outbox.sleeping_until',
  );
  return Number(rows[0]!.v);
}

/** A round trip on the observer's connection: what was notified before has arrived. */
async function notified(): Promise<number> {
  await observer.query('select 1');
  return notifications;
}

describe('a sleeping reader', () => {
  test('is woken by an insert, long before it would have looked', async () => {
    const one = sleeper(await listeningWaker());
    await asleep(one);
    await commit('k#1');
    await eventually(() => one.handled.length === 1);
    expect(one.handled).toEqual([['k#1']]);
    expect(await notified()).toBeGreaterThan(0);
  });

  test('is woken together with all others', async () => {
    const waker = await listeningWaker();
    const [one, two, three] = [sleeper(waker), sleeper(waker), sleeper(await listeningWaker())];
    await Promise.all([one, two, three].map(asleep));
    await commit('k#1');
    await eventually(() => [one, two, three].every((each) => each.handled.length === 1));
    expect([one.handled, two.handled, three.handled]).toEqual([[['k#1']], [['k#1']], [['k#1']]]);
  });

  test('finds an event that was written before it announced its sleep and committed after', async () => {
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      await emit(client, { topic: 'test.written', payload: 'k#1' });
      const one = sleeper(await listeningWaker());
      await eventually(async () => {
        const { rows } = await database.pool.query<{ announced: boolean }>(
          'select last_value > 0 as announced from outbox.sleeping_until',
        );
        return rows[0]!.announced;
      });
      await client.query('commit');
      await eventually(() => one.handled.length === 1);
      expect(await notified()).toBe(0);
    } finally {
      client.release();
    }
  });

  test('finds events without any NOTIFY', async () => {
    const one = sleeper(createWaker({ connection: undefined, log: quiet }), { pollMs: 30 });
    await eventually(() => one.restingMs() === 30);
    await commit('k#1');
    await eventually(() => one.handled.length === 1);
    expect(one.loop.checks?.()).toMatchObject({ listen: { status: 'ok' } });
    expect(await notified()).toBe(0);
  });

  test('hears producers on another channel once it connects again', async () => {
    expect(await setNotifyChannel(database.pool, 'other_channel')).toBe(true);
    try {
      const one = sleeper(await listeningWaker());
      await asleep(one);
      await commit('k#1');
      await eventually(() => one.handled.length === 1);
      expect(await notified()).toBe(0);
      await expect(setNotifyChannel(database.pool, 'No!')).rejects.toMatchObject({
        code: 'OUTBOX_CHANNEL_INVALID',
      });
    } finally {
      await setNotifyChannel(database.pool, 'outbox_event');
    }
  });
});

describe('producers', () => {
  test('notify nobody while no reader sleeps', async () => {
    for (let n = 0; n < 20; n += 1) await commit(`k#${n}`);
    expect(await notified()).toBe(0);
  });

  test('notify once for each transaction while one sleeps, until its time is over', async () => {
    await announceSleep(database.pool, 600_000);
    await commit('k#1');
    await eventually(async () => (await notified()) === 1);
    const client = await database.pool.connect();
    await client.query('begin');
    for (let n = 0; n < 5; n += 1) await emit(client, { topic: 't', payload: n });
    expect(await notified()).toBe(1);
    await client.query('commit');
    client.release();
    await eventually(async () => (await notified()) === 2);
    await database.pool.query(
      `select setval('outbox.sleeping_until', (extract(epoch from clock_timestamp()) * 1000)::bigint - 1)`,
    );
    await commit('k#2');
    expect(await notified()).toBe(2);
  });

  test('do not notify for what they roll back', async () => {
    await announceSleep(database.pool, 600_000);
    const client = await database.pool.connect();
    await client.query('begin');
    await emit(client, { topic: 't', payload: 1 });
    await client.query('rollback');
    client.release();
    expect(await notified()).toBe(0);
  });
});

describe('the announcement of a sleep', () => {
  test('never shortens one that was made before, and takes no transaction id', async () => {
    await announceSleep(database.pool, 600_000);
    const long = await announcedUntil();
    await announceSleep(database.pool, 1_000);
    expect(await announcedUntil()).toBe(long);
    const client = await database.pool.connect();
    await client.query('begin');
    await announceSleep(client, 1_000);
    const { rows } = await client.query('select pg_current_xact_id_if_assigned() as xid');
    await client.query('commit');
    client.release();
    expect(rows).toEqual([{ xid: null }]);
  });
});

describe('a rest', () => {
  const started = 1_000_000;

  function resting({ notified = true, pollMs = 1_000 } = {}): {
    readonly rests: Rests;
    /** Waits `gapMs`, looks in vain until then, and finds an event. */
    event: (gapMs: number) => Promise<void>;
    after: (quietMs: number) => Promise<number>;
    state: { notified: boolean };
  } {
    const state = { notified };
    let now = started;
    const rests = createRests({
      db: database.pool,
      pollMs,
      idleWaitMs: 5_000,
      notified: () => state.notified,
      now: () => now,
    });
    return {
      rests,
      state,
      async event(gapMs) {
        await rests.afterEmptyLook();
        now += gapMs;
        rests.found();
        rests.delivered();
      },
      async after(quietMs) {
        now += quietMs;
        return await rests.afterEmptyLook();
      },
    };
  }

  test('is a close poll while events come thick and fast, and nobody is asked to notify', async () => {
    const { event, after } = resting();
    // Longer than what was announced at first.
    for (let n = 0; n < 3_000; n += 1) await event(2);
    await database.pool.query(`select setval('outbox.sleeping_until', 0)`);
    expect(await after(0)).toBe(1.5);
    expect(await after(24)).toBe(1.5);
    expect(await announcedUntil()).toBe(0);
    // They have stopped: announced, looked once more, and then rests double.
    expect(await after(1)).toBe(1);
    expect(await announcedUntil()).toBeGreaterThan(0);
    expect(await after(75)).toBe(37.5);
    expect(await after(925)).toBe(500);
    expect(await after(60_000)).toBe(1);
    expect(await after(1)).toBe(4);
  });

  test('lasts until a notification where events come one by one, and is announced all the time', async () => {
    const { event, after } = resting();
    for (let n = 0; n < 500; n += 1) await event(20);
    expect(await after(0)).toBe(50);
    await database.pool.query(`select setval('outbox.sleeping_until', 0)`);
    let announcements = 0;
    for (let n = 0; n < 1_000; n += 1) {
      await event(20);
      if ((await announcedUntil()) > 0) announcements += 1;
      await database.pool.query(`select setval('outbox.sleeping_until', 0)`);
      expect(await after(0)).toBe(50);
    }
    // 20 seconds, each announcement good for five and a half.
    expect(announcements).toBeLessThanOrEqual(4);
    expect(announcements).toBeGreaterThanOrEqual(3);
  });

  test('grows with the time for which it has been announced: who wrote before that does not notify', async () => {
    const { after } = resting();
    expect(await after(0)).toBe(1);
    expect(await after(1)).toBe(4);
    expect(await after(9)).toBe(5);
    expect(await after(90)).toBe(50);
  });

  test('begins anew when the database was away: the announcement may be gone', async () => {
    const { rests, event, after } = resting();
    for (let n = 0; n < 100; n += 1) await event(20);
    expect(await after(0)).toBe(50);
    rests.doubt();
    expect(await after(0)).toBe(1);
    expect(await after(0)).toBe(4);
  });

  test('is a close poll after each event where nothing can notify, and never longer than asked for', async () => {
    const { event, after } = resting({ notified: false, pollMs: 20 });
    for (let n = 0; n < 50; n += 1) await event(20);
    expect(await after(0)).toBe(1.5);
    expect(await after(24)).toBe(1.5);
    expect(await after(6)).toBe(15);
    expect(await after(60_000)).toBe(20);
    const often = resting({ notified: false, pollMs: 1 });
    expect(await often.after(0)).toBe(1);
  });

  test('ends at once for a wake-up that came while its reader was busy, once for each reader', async () => {
    const waker = createWaker({ connection: undefined, log: quiet });
    const stopping = new AbortController();
    const [one, two] = [{}, {}];
    const resting = waker.rest(600_000, stopping.signal, one);
    waker.wake();
    await resting;
    // The other was busy. Loops share the worker's signal; the first must not have taken the wake-up from it.
    await waker.rest(600_000, stopping.signal, two);
    const again = waker.rest(600_000, stopping.signal, two);
    stopping.abort();
    await again;
    await waker.rest(600_000, stopping.signal, one);
    await waker.close();
    await waker.close();
    expect(waker.state).toBe('off');
  });
});

describe('a standby', () => {
  test('that hears of lanes does not ask at every poll, and takes a lane as soon as it is given back', async () => {
    const first = sleeper(await listeningWaker());
    await asleep(first);
    const second = sleeper(await listeningWaker(), { group: first.group, pollMs: 20 });
    await asleep(second);
    await first.stop();
    await commit('for the second');
    await eventually(() => second.handled.length === 1);
  });

  test('looks again when the lease of the other ends', async () => {
    const group = 'left-by-one-that-died';
    await acquireLease(database.pool, {
      name: laneLeaseName({ group, lane: 0 }),
      holder: 'dead',
      ttlMs: 1_500,
    });
    const one = sleeper(await listeningWaker(), { group });
    await eventually(() => one.restingMs() > 0);
    expect(one.restingMs()).toBeLessThanOrEqual(1_520);
    // Reading: nothing else lets it rest for so long.
    await eventually(() => one.restingMs() > 2_000);
  });

  test('that hears nothing polls', async () => {
    const first = sleeper(await listeningWaker());
    await asleep(first);
    const second = sleeper(createWaker({ connection: undefined, log: quiet }), {
      group: first.group,
      pollMs: 30,
    });
    await eventually(() => second.restingMs() === 30);
  });
});

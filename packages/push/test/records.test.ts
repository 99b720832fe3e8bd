// What is written down of deliveries, when the database or the worker does not do as it should.

import { openJobs } from '@pulsebox/jobs';
import { createLogger } from '@pulsebox/loop';
import { eventually } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { runLanes } from '../src/lanes.ts';
import { createRecorder } from '../src/recorder.ts';
import { loopOf, notification, openPushDesk } from './push-desk.ts';
import type { PushDesk } from './push-desk.ts';

let desk: PushDesk;

beforeEach(async () => {
  desk = await openPushDesk(inject('serverUrl'), { concurrency: 3 });
});
afterEach(async () => {
  await desk.close();
});

test('a delivery keeps its place until it is recorded: a database that does not answer stops the sending', async () => {
  for (let n = 0; n < 10; n += 1) await desk.browser('ann');
  const locker = await desk.database.pool.connect();
  await locker.query('begin; lock table push.delivery in exclusive mode');
  const delivering = desk.deliver([notification('ann')]);
  await eventually(() => desk.service.received.length === 3);
  await eventually(async () => {
    const { rows } = await desk.database.pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
  expect(desk.service.received).toHaveLength(3);
  await locker.query('commit');
  locker.release();
  await delivering;
  expect(desk.service.received).toHaveLength(10);
  expect(await desk.records()).toHaveLength(10);
});

test('a database that is away for a moment is waited for: what was sent is not forgotten', async () => {
  await desk.browser('ann');
  const { pool } = desk.database;
  let failures = 2;
  const query = pool.query.bind(pool) as (text: unknown, values?: unknown[]) => unknown;
  Object.assign(pool, {
    query(text: unknown, values?: unknown[]): unknown {
      if (!String(text).includes('insert into push.delivery') || failures === 0) return query(text, values);
      failures -= 1;
      return Promise.reject(new Error('Connection terminated unexpectedly'));
    },
  });
  expect(await desk.deliver([notification('ann')])).toEqual({ failed: [] });
  expect(failures).toBe(0);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent']);
  expect(desk.service.counts.requests).toBe(1);
});

test('one that stays away fails the batch, which is then delivered again by whoever has the lane', async () => {
  const { pool } = desk.database;
  await pool.query('alter table push.delivery rename to elsewhere');
  const recorder = createRecorder({ pool, jobs: desk.jobs, onRemoved: () => undefined, patienceMs: 0 });
  const delivery = {
    position: 1,
    userId: 'ann',
    createdAtMs: Date.now(),
    subscriptionId: 1,
    subscription: { endpoint: '', p256dh: '', auth: '' },
    message: { plaintext: '{}', ttlSeconds: 1, urgency: 'normal', topic: undefined } as const,
    expiresAtMs: Date.now(),
    attempt: 1,
  };
  await expect(recorder.record({ delivery, outcome: 'sent' })).rejects.toMatchObject({ code: '42P01' });
});

test('when the lane is lost nothing more is begun, and what is in flight is recorded', async () => {
  for (let n = 0; n < 10; n += 1) await desk.browser('ann');
  desk.service.answer(() => ({ status: 201, afterMs: 100 }));
  const lost = new AbortController();
  const delivering = desk.deliver([notification('ann')], { signal: lost.signal });
  await eventually(() => desk.service.counts.requests === 3);
  lost.abort(new Error('the lease is lost'));
  await expect(delivering).rejects.toThrow('the lease is lost');
  expect(desk.service.counts.requests).toBe(3);
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
});

test('what has not been answered by then is given up, not recorded, and sent again', async () => {
  await desk.browser('ann');
  desk.service.answer(() => 'never');
  const lost = new AbortController();
  const event = { ...notification('ann'), position: 3 };
  const delivering = desk.deliver([event], { signal: lost.signal });
  await eventually(() => desk.service.counts.requests === 1);
  lost.abort(new Error('the lease is lost'));
  await expect(delivering).rejects.toThrow('the lease is lost');
  expect(await desk.records()).toEqual([]);
  desk.service.answer(() => undefined);
  await desk.deliver([event]);
  expect(desk.service.received).toHaveLength(1);
});

test('a retry whose job was given to another worker meanwhile records nothing', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  await desk.makeDue();
  // While the service thinks, the job becomes another attempt of another worker.
  desk.service.answer(() => ({ status: 201, afterMs: 300 }));
  const working = desk.work('push-retry');
  await eventually(() => desk.service.counts.requests === 2);
  await desk.database.pool.query(
    `update pgboss.job set retry_count = retry_count + 1 where name = 'push-retry'`,
  );
  await working;
  expect((await desk.records()).map(({ outcome }) => outcome)).toEqual(['waiting']);
});

test('a retry of a worker that died is run by another, and sent once more at most', async () => {
  await desk.browser('ann');
  desk.service.answer(() => ({ status: 500 }));
  await desk.deliver([notification('ann')]);
  await desk.makeDue();
  // It takes the job, and is never heard of again.
  const log = createLogger({ worker: 'test', destination: { write: () => undefined } });
  const other = openJobs({ pool: desk.database.pool, log, crashCheckSeconds: 1 });
  const { retryQueue } = await import('../src/retry-queue.ts');
  expect(await other.fetch(retryQueue)).toHaveLength(1);
  await desk.database.pool.query(
    `update pgboss.job set heartbeat_on = now() - interval '1 hour' where name = 'push-retry' and state = 'active'`,
  );
  desk.service.answer(() => undefined);
  await eventually(async () => {
    await other.maintain();
    await desk.makeDue();
    return (await desk.work('push-retry')) === 1;
  });
  expect(desk.service.received).toHaveLength(1);
  await other.stop();
});

test('records are forgotten an hour after their events have expired', async () => {
  await desk.browser('ann');
  await desk.deliver([notification('ann', { ttl: 60 }), notification('ann', { ttl: 90_000 })]);
  const forget = async (): Promise<unknown> =>
    await loopOf(desk.push, 'push-records').tick({ log: {} } as never);
  await forget();
  expect(await desk.records()).toHaveLength(2);
  await desk.database.pool.query(`update push.delivery set expires_at = expires_at - interval '2 hours'`);
  await forget();
  expect((await desk.records()).map(({ position }) => position)).toEqual([2]);
});

test('lanes: so many at a time; a failure ends the taking, waits for what runs, and is thrown', async () => {
  let running = 0;
  let most = 0;
  let taken = 0;
  let closed = false;
  async function* numbers(): AsyncGenerator<number> {
    try {
      for (let n = 0; n < 100; n += 1) {
        taken += 1;
        yield n;
      }
    } finally {
      closed = true;
    }
  }
  const signal = new AbortController().signal;
  const work = async (n: number): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    running -= 1;
    if (n === 20) throw new Error('twenty');
  };
  await expect(runLanes(numbers(), { concurrency: 5, signal }, work)).rejects.toThrow('twenty');
  expect(most).toBe(5);
  expect(running).toBe(0);
  expect(taken).toBeLessThanOrEqual(26);
  expect(closed).toBe(true);
});

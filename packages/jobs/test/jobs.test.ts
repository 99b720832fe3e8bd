// What becomes of a job that is sent, fetched and settled, alone and inside a transaction of the caller's.

import { createPool, transaction } from '@pulsebox/postgres';
import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { defineQueue, openJobs } from '../src/index.ts';
import type { Job, Jobs, Queue, QueueOptions } from '../src/index.ts';
import { newQueue, rowsOf, silence } from './job-rows.ts';
import type { Numbered } from './job-rows.ts';
import { quiet } from './turn-loop.ts';

let database: TestDatabase;
const opened: Jobs[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map(async (jobs) => jobs.stop()));
});
afterAll(async () => {
  await database.drop();
});

function open(crashCheckSeconds = 1): Jobs {
  const jobs = openJobs({ pool: database.pool, log: quiet, crashCheckSeconds });
  opened.push(jobs);
  return jobs;
}

async function openWith(options: QueueOptions = {}): Promise<{ jobs: Jobs; queue: Queue<Numbered> }> {
  const jobs = open();
  const queue = newQueue(options);
  await jobs.ensureQueue(queue);
  return { jobs, queue };
}

async function fetchOne(jobs: Jobs, queue: Queue<Numbered>): Promise<Job<Numbered>> {
  const [job] = await jobs.fetch(queue);
  if (job === undefined) throw new Error('there was no job');
  return job;
}

const rollBack = new Error('roll back');

describe('sending', () => {
  test('keeps the trace of a job beside its data', async () => {
    const { jobs, queue } = await openWith();
    const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
    await jobs.sendAll(queue, [{ data: { n: 1 }, trace }, { data: { n: 2 } }]);
    const fetched = await jobs.fetch(queue, { batchSize: 2 });
    // Sent at once, they may come in any order.
    const found = new Map(fetched.map((job) => [job.data.n, job.trace]));
    expect(found).toEqual(
      new Map([
        [1, trace],
        [2, undefined],
      ]),
    );
  });

  test('gives a job its data, key, attempts and deadlines', async () => {
    const { jobs, queue } = await openWith({ attempts: 3, timeoutSeconds: 60, heartbeatSeconds: 20 });
    const sent = await jobs.send(queue, { n: 1 }, { key: 'item:42' });
    expect(sent).toEqual({ sent: true, id: expect.any(String) });
    expect(await jobs.fetch(queue, { batchSize: 5 })).toEqual([
      {
        id: sent.sent && sent.id,
        queue: queue.name,
        data: { n: 1 },
        key: 'item:42',
        attempt: 1,
        attemptsLeft: 2,
        createdAt: expect.any(Date),
        timeoutSeconds: 60,
        heartbeatSeconds: 20,
      },
    ]);
  });

  test('leaves no job behind when the transaction it joined is rolled back', async () => {
    const { jobs, queue } = await openWith();
    const joined = transaction(database.pool, async (client) => {
      expect(await jobs.send(queue, { n: 1 }, { client })).toMatchObject({ sent: true });
      await jobs.sendAll(queue, [{ data: { n: 2 } }, { data: { n: 3 } }], { client });
      expect(await rowsOf(client, queue)).toHaveLength(3);
      throw rollBack;
    });
    await expect(joined).rejects.toBe(rollBack);
    expect(await rowsOf(database.pool, queue)).toEqual([]);
  });

  test('lets nobody see a job before the transaction it joined has committed', async () => {
    const { jobs, queue } = await openWith();
    await transaction(database.pool, async (client) => {
      await jobs.send(queue, { n: 1 }, { client });
      expect(await jobs.fetch(queue)).toEqual([]);
    });
    expect(await jobs.fetch(queue)).toHaveLength(1);
  });

  test('says of each of many whether it was sent, in their order', async () => {
    const { jobs, queue } = await openWith();
    const id = '01234567-89ab-4cde-8f01-23456789abcd';
    await jobs.send(queue, { n: 1 }, { id });
    expect(
      await jobs.sendAll(queue, [{ data: { n: 2 } }, { data: { n: 1 }, id }, { data: { n: 3 } }]),
    ).toEqual([
      { sent: true, id: expect.any(String) },
      { sent: false, reason: 'duplicate' },
      { sent: true, id: expect.any(String) },
    ]);
    expect((await rowsOf(database.pool, queue)).map(({ n }) => n)).toEqual([1, 2, 3]);
    expect(await jobs.sendAll(queue, [])).toEqual([]);
  });

  test('holds a job back until it is due, and prefers greater priorities', async () => {
    const { jobs, queue } = await openWith();
    await jobs.sendAll(queue, [
      { data: { n: 1 }, delaySeconds: 3_600 },
      { data: { n: 2 }, startAt: new Date(Date.now() + 7_200_000) },
      { data: { n: 3 } },
      { data: { n: 4 }, priority: 1 },
    ]);
    const rows = await rowsOf(database.pool, queue);
    expect(rows.map(({ waitSeconds }) => Math.abs(waitSeconds / 3_600).toFixed(1))).toEqual([
      '1.0',
      '2.0',
      '0.0',
      '0.0',
    ]);
    expect((await jobs.fetch(queue, { batchSize: 9 })).map(({ data }) => data.n)).toEqual([4, 3]);
    for (const n of [5, 6, 7]) await jobs.send(queue, { n }, { priority: n === 7 ? 1 : 0 });
    expect((await fetchOne(jobs, queue)).data.n).toBe(7);
    expect((await jobs.fetch(queue, { batchSize: 9 })).map(({ data }) => data.n)).toEqual([5, 6]);
  });

  test('keeps one job of a key waiting or running in an exclusive queue, one waiting in a short one', async () => {
    const exclusive = await openWith({ policy: 'exclusive' });
    const short = await openWith({ policy: 'short' });
    for (const { jobs, queue } of [exclusive, short]) {
      expect(await jobs.send(queue, { n: 1 }, { key: 'a' })).toMatchObject({ sent: true });
      expect(await jobs.send(queue, { n: 2 }, { key: 'a' })).toEqual({ sent: false, reason: 'duplicate' });
      expect(await jobs.send(queue, { n: 3 }, { key: 'b' })).toMatchObject({ sent: true });
      expect(await jobs.fetch(queue, { batchSize: 9 })).toHaveLength(2);
    }
    expect(await exclusive.jobs.send(exclusive.queue, { n: 4 }, { key: 'a' })).toMatchObject({ sent: false });
    expect(await short.jobs.send(short.queue, { n: 4 }, { key: 'a' })).toMatchObject({ sent: true });
  });

  test('names a queue that nobody has made', async () => {
    await expect(open().send(defineQueue('nobodys'), { n: 1 })).rejects.toMatchObject({
      code: 'JOBS_QUEUE_UNKNOWN',
      message: 'there is no queue nobodys in this database',
      hint: expect.stringContaining('ensureQueue'),
    });
  });

  test('refuses data that PostgreSQL cannot store', async () => {
    const jobs = open();
    const queue = defineQueue<{ text: string }>('texts');
    await jobs.ensureQueue(queue);
    await expect(jobs.send(queue, { text: 'a\u0000b' })).rejects.toMatchObject({
      code: 'JOBS_JOB_INVALID',
      message: expect.stringContaining('expected data that PostgreSQL can store'),
    });
    await expect(jobs.send(queue, 'text' as never)).rejects.toThrow(
      'expected data to be an object, got "text"',
    );
  });

  test.for([
    [{ delaySeconds: -1 }, 'expected delaySeconds to be a number from 0 up, got -1'],
    [{ delaySeconds: 1, startAt: new Date() }, 'expected delaySeconds or startAt, got both'],
    [{ startAt: new Date(Number.NaN) }, 'expected startAt to be a date, got an invalid one'],
    [{ priority: 0.5 }, 'expected priority to be a whole number, got 0.5'],
    [{ attempts: 0 }, 'expected attempts to be a whole number from 1 up, got 0'],
    [{ id: '42' }, 'expected id to be a UUID in lower case, got "42"'],
  ] as const)('refuses %o', async ([options, message]) => {
    const { jobs, queue } = await openWith();
    await expect(jobs.send(queue, { n: 1 }, options)).rejects.toMatchObject({
      code: 'JOBS_JOB_INVALID',
      message: `a job for ${queue.name}: ${message}`,
    });
    expect(await rowsOf(database.pool, queue)).toEqual([]);
  });
});

describe('an attempt', () => {
  test('completes once, and keeps its output', async () => {
    const { jobs, queue } = await openWith();
    await jobs.send(queue, { n: 1 });
    const job = await fetchOne(jobs, queue);
    expect(await jobs.complete(job, { output: { rows: 7 } })).toEqual({ completed: true });
    expect(await jobs.complete(job)).toEqual({ completed: false, reason: 'not-ours' });
    expect(await jobs.fail(job, new Error('late'))).toEqual({ failed: false, reason: 'not-ours' });
    expect(await jobs.giveBack(job)).toEqual({ givenBack: false, reason: 'not-ours' });
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'completed', output: { rows: 7 } }]);
  });

  test('that was taken for dead changes nothing of the attempt after it', async () => {
    const { jobs, queue } = await openWith();
    await jobs.send(queue, { n: 1 });
    const zombie = await fetchOne(jobs, queue);
    await silence(database.pool, queue);
    await jobs.maintain();
    await database.pool.query('update pgboss.job set start_after = now() where name = $1', [queue.name]);
    const job = await fetchOne(jobs, queue);
    expect(job).toMatchObject({ id: zombie.id, attempt: 2 });

    expect(await jobs.complete(zombie)).toEqual({ completed: false, reason: 'not-ours' });
    expect(await jobs.fail(zombie, new Error('late'))).toEqual({ failed: false, reason: 'not-ours' });
    expect(await jobs.fail(zombie, new Error('late'), { retry: false })).toMatchObject({ failed: false });
    expect(await jobs.fail(zombie, new Error('late'), { retryInSeconds: 9 })).toMatchObject({
      failed: false,
    });
    expect(await jobs.giveBack(zombie)).toEqual({ givenBack: false, reason: 'not-ours' });
    expect(await jobs.heartbeat(queue, [zombie])).toEqual(new Set());
    expect(await jobs.heartbeat(queue, [job])).toEqual(new Set([job.id]));
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'active', attempts: 2 }]);
    expect(await jobs.complete(job)).toEqual({ completed: true });
  });

  test('that fails is tried again after growing waits, up to the cap, until it has failed for good', async () => {
    const { jobs, queue } = await openWith({
      attempts: 4,
      retryDelaySeconds: 100,
      retryDelayMaxSeconds: 300,
    });
    await jobs.send(queue, { n: 1 });
    const waits: number[] = [];
    for (const attemptsLeft of [3, 2, 1, 0]) {
      const job = await fetchOne(jobs, queue);
      expect(job.attemptsLeft).toBe(attemptsLeft);
      expect(await jobs.fail(job, new Error('no\u0000', { cause: new Error('why') }))).toEqual({
        failed: true,
      });
      const [row] = await rowsOf(database.pool, queue);
      expect(row?.state).toBe(attemptsLeft === 0 ? 'failed' : 'retry');
      expect(row?.output).toEqual({ message: 'no\uFFFD', cause: 'why' });
      waits.push(row?.waitSeconds ?? 0);
      await database.pool.query('update pgboss.job set start_after = now() where name = $1', [queue.name]);
    }
    expect(waits[0]).toBeGreaterThan(90);
    expect(waits[0]).toBeLessThanOrEqual(200);
    expect(waits[1]).toBeGreaterThan(190);
    expect(waits[1]).toBeLessThanOrEqual(300);
    expect(waits[2]).toBeGreaterThan(290);
    expect(waits[2]).toBeLessThanOrEqual(300);
    expect(await jobs.fetch(queue)).toEqual([]);
  });

  test('that fails waits as long as its sink asked, or is not tried again at all', async () => {
    const { jobs, queue } = await openWith();
    await jobs.sendAll(queue, [{ data: { n: 1 } }, { data: { n: 2 } }]);
    const both = (await jobs.fetch(queue, { batchSize: 2 })).toSorted((a, b) => a.data.n - b.data.n);
    const [busy, broken] = both as [Job<Numbered>, Job<Numbered>];
    expect(await jobs.fail(busy, new Error('429'), { retryInSeconds: 1_000 })).toEqual({ failed: true });
    expect(await jobs.fail(broken, 'nonsense', { retry: false })).toEqual({ failed: true });
    const [waiting, failed] = await rowsOf(database.pool, queue);
    expect(waiting).toMatchObject({ state: 'retry', output: { message: '429' } });
    expect(Math.round((waiting?.waitSeconds ?? 0) / 100)).toBe(10);
    expect(failed).toMatchObject({ state: 'failed', output: { message: 'nonsense' } });
  });

  test('that is given back runs again at once, has lost no attempt, and is told from the one after it', async () => {
    const { jobs, queue } = await openWith({ attempts: 1 });
    await jobs.send(queue, { n: 1 });
    const first = await fetchOne(jobs, queue);
    expect(await jobs.giveBack(first)).toEqual({ givenBack: true });
    const second = await fetchOne(jobs, queue);
    expect(second).toMatchObject({ id: first.id, attempt: 2, attemptsLeft: 0 });
    expect(await jobs.complete(first)).toMatchObject({ completed: false });
    await jobs.fail(second, new Error('no'));
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'failed' }]);
  });

  test('ends with the transaction that it was settled in, or not at all', async () => {
    const { jobs, queue } = await openWith();
    await jobs.sendAll(
      queue,
      [1, 2, 3, 4].map((n) => ({ data: { n } })),
    );
    const fetched = await jobs.fetch(queue, { batchSize: 4 });
    const [a, b, c, d] = fetched as [Job<Numbered>, Job<Numbered>, Job<Numbered>, Job<Numbered>];
    const settled = async (fate: 'commit' | 'rollback'): Promise<void> =>
      transaction(database.pool, async (client) => {
        expect(await jobs.complete(a, { client })).toEqual({ completed: true });
        expect(await jobs.fail(b, new Error('no'), { client })).toEqual({ failed: true });
        expect(await jobs.fail(c, new Error('no'), { client, retry: false })).toEqual({ failed: true });
        expect(await jobs.giveBack(d, { client })).toEqual({ givenBack: true });
        if (fate === 'rollback') throw rollBack;
      });
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await rowsOf(database.pool, queue)).map(({ n, state }) => [n, state]));
    await expect(settled('rollback')).rejects.toBe(rollBack);
    expect(new Set(Object.values(await states()))).toEqual(new Set(['active']));
    await settled('commit');
    expect(await states()).toEqual({
      [a.data.n]: 'completed',
      [b.data.n]: 'retry',
      [c.data.n]: 'failed',
      [d.data.n]: 'retry',
    });
  });

  test('is not failed with a wait that is none', async () => {
    const { jobs, queue } = await openWith();
    await jobs.send(queue, { n: 1 });
    const job = await fetchOne(jobs, queue);
    await expect(jobs.fail(job, 'busy', { retryInSeconds: Number.NaN })).rejects.toMatchObject({
      code: 'JOBS_JOB_INVALID',
      message: expect.stringContaining('expected retryInSeconds to be a number from 0 up, got NaN'),
    });
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'active' }]);
  });

  test("is nobody's when the transaction that fetched it is rolled back", async () => {
    const { jobs, queue } = await openWith();
    await jobs.send(queue, { n: 1 });
    const joined = transaction(database.pool, async (client) => {
      expect(await jobs.fetch(queue, { client })).toHaveLength(1);
      expect(await jobs.fetch(queue)).toEqual([]);
      throw rollBack;
    });
    await expect(joined).rejects.toBe(rollBack);
    expect(await fetchOne(jobs, queue)).toMatchObject({ attempt: 1 });
  });

  test('is given to one of many who ask at once', async () => {
    const { jobs, queue } = await openWith();
    await jobs.sendAll(
      queue,
      Array.from({ length: 40 }, (_, n) => ({ data: { n } })),
    );
    const fetched = await Promise.all(
      Array.from({ length: 10 }, async () => jobs.fetch(queue, { batchSize: 5 })),
    );
    const numbers = fetched.flat().map(({ data }) => data.n);
    expect(new Set(numbers).size).toBe(numbers.length);
    const rest = await jobs.fetch(queue, { batchSize: 40 });
    expect(numbers.length + rest.length).toBe(40);
  });
});

describe('maintenance', () => {
  test('leaves a job to the worker that is heard of, and gives that of a silent one to others', async () => {
    const { jobs, queue } = await openWith();
    await jobs.send(queue, { n: 1 });
    await fetchOne(jobs, queue);
    await jobs.maintain();
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'active' }]);
    await silence(database.pool, queue);
    const retried = await eventually(async () => {
      await jobs.maintain();
      return (await rowsOf(database.pool, queue)).find(({ state }) => state === 'retry');
    });
    expect(retried.output).toEqual({ value: { message: 'job heartbeat timeout' } });
  });

  test('ends an attempt that takes longer than it may', async () => {
    const { jobs, queue } = await openWith({ timeoutSeconds: 5, attempts: 1 });
    await jobs.send(queue, { n: 1 });
    await fetchOne(jobs, queue);
    await database.pool.query(`update pgboss.job set started_on = now() - interval '6 s' where name = $1`, [
      queue.name,
    ]);
    await jobs.maintain();
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'failed' }]);
  });

  test('deletes what was finished long ago, and nothing else', async () => {
    const { jobs, queue } = await openWith({ keepFinishedSeconds: 60 });
    await jobs.sendAll(
      queue,
      [1, 2, 3].map((n) => ({ data: { n } })),
    );
    const fetched = await jobs.fetch(queue, { batchSize: 2 });
    for (const job of fetched) await jobs.complete(job);
    await database.pool.query(
      `update pgboss.job set completed_on = now() - interval '61 s' where name = $1 and id = $2`,
      [queue.name, fetched[0]?.id],
    );
    await jobs.maintain();
    expect((await rowsOf(database.pool, queue)).map(({ state }) => state).toSorted()).toEqual([
      'completed',
      'created',
    ]);
  });
});

describe('opening and stopping', () => {
  test('asks the database nothing until it is used, and survives one that is away at first', async () => {
    const proxy = await tcpProxy(database.url);
    proxy.cut();
    const pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
    const jobs = openJobs({ pool, log: quiet });
    await expect(jobs.ready()).rejects.toThrow(/ECONN|terminated/);
    proxy.restore();
    await jobs.ready();
    await jobs.stop();
    await pool.end();
    await proxy.close();
  });

  test('names a database without the schema', async () => {
    const empty = await createTestDatabase(inject('serverUrl'), { migrated: false });
    const jobs = openJobs({ pool: empty.pool, log: quiet });
    await expect(jobs.ready()).rejects.toMatchObject({
      code: 'JOBS_SCHEMA_MISSING',
      hint: expect.stringContaining('pulsebox migrate'),
    });
    await jobs.stop();
    await empty.drop();
  });

  test('leaves a connection fit for others after a script of several statements has failed on it', async () => {
    const pool = createPool({
      connection: { connectionString: database.url },
      max: 1,
      onIdleError: () => undefined,
    });
    const jobs = openJobs({ pool, log: quiet });
    const queue = newQueue();
    await jobs.ready();
    await database.pool.query('alter table pgboss.queue rename to queue_away');
    await expect(jobs.ensureQueue(queue)).rejects.toThrow('pgboss.queue');
    await database.pool.query('alter table pgboss.queue_away rename to queue');
    await jobs.ensureQueue(queue);
    const { rows } = await pool.query('select pg_current_xact_id_if_assigned() as xid');
    expect(rows).toEqual([{ xid: null }]);
    await jobs.stop();
    expect(pool.waitingCount).toBe(0);
    await pool.end();
  });

  test('is safe before a start and any number of times, waits for what is in use, and then refuses', async () => {
    const never = open();
    await Promise.all([never.stop(), never.stop()]);
    await expect(never.ready()).rejects.toMatchObject({ code: 'JOBS_STOPPED' });

    const { jobs, queue } = await openWith();
    const sent = jobs.sendAll(queue, [{ data: { n: 1 } }]);
    await Promise.all([jobs.stop(), jobs.stop()]);
    expect(await sent).toMatchObject([{ sent: true }]);
    await expect(jobs.fetch(queue)).rejects.toMatchObject({ code: 'JOBS_STOPPED' });
    const { rows } = await database.pool.query('select 1 as alive');
    expect(rows).toEqual([{ alive: 1 }]);
  });

  test('stops while it starts', async () => {
    for (let turn = 0; turn < 10; turn += 1) {
      const jobs = open();
      const ready = jobs.ready().catch((error: unknown) => error);
      await jobs.stop();
      await ready;
    }
    expect(database.pool.waitingCount).toBe(0);
  });

  test('refuses an interval that is none', () => {
    expect(() => open(0)).toThrow('expected crashCheckSeconds to be a whole number from 1 up, got 0');
  });
});

// What becomes of a job that is sent, alone and inside a transaction of the caller's.

import { transaction } from '@pulsebox/postgres';
import { describe, expect, test } from 'vitest';
import { defineQueue } from '../src/index.ts';
import { rowsOf } from './job-rows.ts';
import { fetchOne, jobsDesk, rollBack } from './jobs-desk.ts';

const desk = jobsDesk();

describe('sending', () => {
  test('keeps the trace of a job beside its data', async () => {
    const { jobs, queue } = await desk.openWith();
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
    const { jobs, queue } = await desk.openWith({ attempts: 3, timeoutSeconds: 60, heartbeatSeconds: 20 });
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
    const { jobs, queue } = await desk.openWith();
    const joined = transaction(desk.database.pool, async (client) => {
      expect(await jobs.send(queue, { n: 1 }, { client })).toMatchObject({ sent: true });
      await jobs.sendAll(queue, [{ data: { n: 2 } }, { data: { n: 3 } }], { client });
      expect(await rowsOf(client, queue)).toHaveLength(3);
      throw rollBack;
    });
    await expect(joined).rejects.toBe(rollBack);
    expect(await rowsOf(desk.database.pool, queue)).toEqual([]);
  });

  test('lets nobody see a job before the transaction it joined has committed', async () => {
    const { jobs, queue } = await desk.openWith();
    await transaction(desk.database.pool, async (client) => {
      await jobs.send(queue, { n: 1 }, { client });
      expect(await jobs.fetch(queue)).toEqual([]);
    });
    expect(await jobs.fetch(queue)).toHaveLength(1);
  });

  test('says of each of many whether it was sent, in their order', async () => {
    const { jobs, queue } = await desk.openWith();
    const id = '01234567-89ab-4cde-8f01-23456789abcd';
    await jobs.send(queue, { n: 1 }, { id });
    expect(
      await jobs.sendAll(queue, [{ data: { n: 2 } }, { data: { n: 1 }, id }, { data: { n: 3 } }]),
    ).toEqual([
      { sent: true, id: expect.any(String) },
      { sent: false, reason: 'duplicate' },
      { sent: true, id: expect.any(String) },
    ]);
    expect((await rowsOf(desk.database.pool, queue)).map(({ n }) => n)).toEqual([1, 2, 3]);
    expect(await jobs.sendAll(queue, [])).toEqual([]);
  });

  test('holds a job back until it is due, and prefers greater priorities', async () => {
    const { jobs, queue } = await desk.openWith();
    await jobs.sendAll(queue, [
      { data: { n: 1 }, delaySeconds: 3_600 },
      { data: { n: 2 }, startAt: new Date(Date.now() + 7_200_000) },
      { data: { n: 3 } },
      { data: { n: 4 }, priority: 1 },
    ]);
    const rows = await rowsOf(desk.database.pool, queue);
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
    const exclusive = await desk.openWith({ policy: 'exclusive' });
    const short = await desk.openWith({ policy: 'short' });
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
    await expect(desk.open().send(defineQueue('nobodys'), { n: 1 })).rejects.toMatchObject({
      code: 'JOBS_QUEUE_UNKNOWN',
      message: 'there is no queue nobodys in this database',
      hint: expect.stringContaining('ensureQueue'),
    });
  });

  test('refuses data that PostgreSQL cannot store', async () => {
    const jobs = desk.open();
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
    const { jobs, queue } = await desk.openWith();
    await expect(jobs.send(queue, { n: 1 }, options)).rejects.toMatchObject({
      code: 'JOBS_JOB_INVALID',
      message: `a job for ${queue.name}: ${message}`,
    });
    expect(await rowsOf(desk.database.pool, queue)).toEqual([]);
  });
});

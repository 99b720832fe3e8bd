// How an attempt of a job ends: settled by its worker, alone and inside a transaction of the caller's, or for it.

import { transaction } from '@pulsebox/postgres';
import { eventually } from '@pulsebox/test-support';
import { describe, expect, test } from 'vitest';
import type { Job } from '../src/index.ts';
import { rowsOf, silence } from './job-rows.ts';
import type { Numbered } from './job-rows.ts';
import { fetchOne, jobsDesk, rollBack } from './jobs-desk.ts';

const desk = jobsDesk();

describe('an attempt', () => {
  test('completes once, and keeps its output', async () => {
    const { jobs, queue } = await desk.openWith();
    await jobs.send(queue, { n: 1 });
    const job = await fetchOne(jobs, queue);
    expect(await jobs.complete(job, { output: { rows: 7 } })).toEqual({ completed: true });
    expect(await jobs.complete(job)).toEqual({ completed: false, reason: 'not-ours' });
    expect(await jobs.fail(job, new Error('late'))).toEqual({ failed: false, reason: 'not-ours' });
    expect(await jobs.giveBack(job)).toEqual({ givenBack: false, reason: 'not-ours' });
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([
      { state: 'completed', output: { rows: 7 } },
    ]);
  });

  test('that was taken for dead changes nothing of the attempt after it', async () => {
    const { jobs, queue } = await desk.openWith();
    await jobs.send(queue, { n: 1 });
    const zombie = await fetchOne(jobs, queue);
    await silence(desk.database.pool, queue);
    await jobs.maintain();
    await desk.database.pool.query('update pgboss.job set start_after = now() where name = $1', [queue.name]);
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
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([{ state: 'active', attempts: 2 }]);
    expect(await jobs.complete(job)).toEqual({ completed: true });
  });

  test('that fails is tried again after growing waits, up to the cap, until it has failed for good', async () => {
    const { jobs, queue } = await desk.openWith({
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
      const [row] = await rowsOf(desk.database.pool, queue);
      expect(row?.state).toBe(attemptsLeft === 0 ? 'failed' : 'retry');
      expect(row?.output).toEqual({ message: 'no\uFFFD', cause: 'why' });
      waits.push(row?.waitSeconds ?? 0);
      await desk.database.pool.query('update pgboss.job set start_after = now() where name = $1', [
        queue.name,
      ]);
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
    const { jobs, queue } = await desk.openWith();
    await jobs.sendAll(queue, [{ data: { n: 1 } }, { data: { n: 2 } }]);
    const both = (await jobs.fetch(queue, { batchSize: 2 })).toSorted((a, b) => a.data.n - b.data.n);
    const [busy, broken] = both as [Job<Numbered>, Job<Numbered>];
    expect(await jobs.fail(busy, new Error('429'), { retryInSeconds: 1_000 })).toEqual({ failed: true });
    expect(await jobs.fail(broken, 'nonsense', { retry: false })).toEqual({ failed: true });
    const [waiting, failed] = await rowsOf(desk.database.pool, queue);
    expect(waiting).toMatchObject({ state: 'retry', output: { message: '429' } });
    expect(Math.round((waiting?.waitSeconds ?? 0) / 100)).toBe(10);
    expect(failed).toMatchObject({ state: 'failed', output: { message: 'nonsense' } });
  });

  test('that is given back runs again at once, has lost no attempt, and is told from the one after it', async () => {
    const { jobs, queue } = await desk.openWith({ attempts: 1 });
    await jobs.send(queue, { n: 1 });
    const first = await fetchOne(jobs, queue);
    expect(await jobs.giveBack(first)).toEqual({ givenBack: true });
    const second = await fetchOne(jobs, queue);
    expect(second).toMatchObject({ id: first.id, attempt: 2, attemptsLeft: 0 });
    expect(await jobs.complete(first)).toMatchObject({ completed: false });
    await jobs.fail(second, new Error('no'));
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([{ state: 'failed' }]);
  });

  test('ends with the transaction that it was settled in, or not at all', async () => {
    const { jobs, queue } = await desk.openWith();
    await jobs.sendAll(
      queue,
      [1, 2, 3, 4].map((n) => ({ data: { n } })),
    );
    const fetched = await jobs.fetch(queue, { batchSize: 4 });
    const [a, b, c, d] = fetched as [Job<Numbered>, Job<Numbered>, Job<Numbered>, Job<Numbered>];
    const settled = async (fate: 'commit' | 'rollback'): Promise<void> =>
      transaction(desk.database.pool, async (client) => {
        expect(await jobs.complete(a, { client })).toEqual({ completed: true });
        expect(await jobs.fail(b, new Error('no'), { client })).toEqual({ failed: true });
        expect(await jobs.fail(c, new Error('no'), { client, retry: false })).toEqual({ failed: true });
        expect(await jobs.giveBack(d, { client })).toEqual({ givenBack: true });
        if (fate === 'rollback') throw rollBack;
      });
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await rowsOf(desk.database.pool, queue)).map(({ n, state }) => [n, state]));
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
    const { jobs, queue } = await desk.openWith();
    await jobs.send(queue, { n: 1 });
    const job = await fetchOne(jobs, queue);
    await expect(jobs.fail(job, 'busy', { retryInSeconds: Number.NaN })).rejects.toMatchObject({
      code: 'JOBS_JOB_INVALID',
      message: expect.stringContaining('expected retryInSeconds to be a number from 0 up, got NaN'),
    });
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([{ state: 'active' }]);
  });

  test("is nobody's when the transaction that fetched it is rolled back", async () => {
    const { jobs, queue } = await desk.openWith();
    await jobs.send(queue, { n: 1 });
    const joined = transaction(desk.database.pool, async (client) => {
      expect(await jobs.fetch(queue, { client })).toHaveLength(1);
      expect(await jobs.fetch(queue)).toEqual([]);
      throw rollBack;
    });
    await expect(joined).rejects.toBe(rollBack);
    expect(await fetchOne(jobs, queue)).toMatchObject({ attempt: 1 });
  });

  test('is given to one of many who ask at once', async () => {
    const { jobs, queue } = await desk.openWith();
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
    const { jobs, queue } = await desk.openWith();
    await jobs.send(queue, { n: 1 });
    await fetchOne(jobs, queue);
    await jobs.maintain();
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([{ state: 'active' }]);
    await silence(desk.database.pool, queue);
    const retried = await eventually(async () => {
      await jobs.maintain();
      return (await rowsOf(desk.database.pool, queue)).find(({ state }) => state === 'retry');
    });
    expect(retried.output).toEqual({ value: { message: 'job heartbeat timeout' } });
  });

  test('ends an attempt that takes longer than it may', async () => {
    const { jobs, queue } = await desk.openWith({ timeoutSeconds: 5, attempts: 1 });
    await jobs.send(queue, { n: 1 });
    await fetchOne(jobs, queue);
    await desk.database.pool.query(
      `update pgboss.job set started_on = now() - interval '6 s' where name = $1`,
      [queue.name],
    );
    await jobs.maintain();
    expect(await rowsOf(desk.database.pool, queue)).toMatchObject([{ state: 'failed' }]);
  });

  test('deletes what was finished long ago, and nothing else', async () => {
    const { jobs, queue } = await desk.openWith({ keepFinishedSeconds: 60 });
    await jobs.sendAll(
      queue,
      [1, 2, 3].map((n) => ({ data: { n } })),
    );
    const fetched = await jobs.fetch(queue, { batchSize: 2 });
    for (const job of fetched) await jobs.complete(job);
    await desk.database.pool.query(
      `update pgboss.job set completed_on = now() - interval '61 s' where name = $1 and id = $2`,
      [queue.name, fetched[0]?.id],
    );
    await jobs.maintain();
    expect((await rowsOf(desk.database.pool, queue)).map(({ state }) => state).toSorted()).toEqual([
      'completed',
      'created',
    ]);
  });
});

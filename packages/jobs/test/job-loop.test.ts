import { createWorker } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';
import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { jobLoop, openJobs } from '../src/index.ts';
import type { JobHandler, JobLoopOptions, Jobs, Queue, QueueOptions } from '../src/index.ts';
import { newQueue, rowsOf, silence } from './job-rows.ts';
import type { Numbered } from './job-rows.ts';
import { quiet, turnLoop } from './turn-loop.ts';
import type { TurningLoop } from './turn-loop.ts';

let database: TestDatabase;
let jobs: Jobs;
const turning: TurningLoop[] = [];

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  jobs = openJobs({ pool: database.pool, log: quiet, crashCheckSeconds: 1 });
});
afterEach(async () => {
  await Promise.all(turning.splice(0).map(async (loop) => loop.stopNow()));
});
afterAll(async () => {
  await jobs.stop();
  await database.drop();
});

interface Run {
  readonly queue: Queue<Numbered>;
  readonly loop: TurningLoop;
  readonly ends: string[];
}

/** Turns a loop over a queue of its own with jobs 1 to `count` in it. */
async function run(
  count: number,
  handler: JobHandler<Numbered>,
  options: Partial<JobLoopOptions<Numbered>> & { readonly queueOptions?: QueueOptions } = {},
): Promise<Run> {
  const { queueOptions, ...loopOptions } = options;
  const queue = newQueue(queueOptions);
  await jobs.ensureQueue(queue);
  for (let n = 1; n <= count; n += 1) await jobs.send(queue, { n });
  const ends: string[] = [];
  const loop = turnLoop(
    jobLoop({ jobs, queue, handler, pollMs: 20, onEnd: ({ end }) => ends.push(end), ...loopOptions }),
  );
  turning.push(loop);
  return { queue, loop, ends };
}

const aborted = async (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });

const states = async (queue: Queue): Promise<string[]> =>
  (await rowsOf(database.pool, queue)).map(({ state }) => state);

describe('a loop of jobs', () => {
  test('makes its queue, runs what is in it, and counts what has ended', async () => {
    const queue = newQueue();
    const ran: number[] = [];
    const handler: JobHandler<Numbered> = async ({ data }) => {
      ran.push(data.n);
      return { outcome: 'completed', output: { seen: data.n } };
    };
    const loop = turnLoop(jobLoop({ jobs, queue, handler, pollMs: 20 }));
    turning.push(loop);
    await eventually(() => loop.results.length > 0);
    for (const n of [1, 2, 3]) await jobs.send(queue, { n });
    await eventually(() => ran.length === 3);
    await loop.stop();
    expect(ran).toEqual([1, 2, 3]);
    expect(await rowsOf(database.pool, queue)).toMatchObject([
      { state: 'completed', output: { seen: 1 } },
      { state: 'completed', output: { seen: 2 } },
      { state: 'completed', output: { seen: 3 } },
    ]);
    expect(loop.results.reduce((sum, result) => sum + (result?.events ?? 0), 0)).toBe(3);
    expect(loop.errors).toEqual([]);
  });

  test('runs as many at once as it may, and no more', async () => {
    let running = 0;
    let most = 0;
    const release = Promise.withResolvers<void>();
    const { queue, loop } = await run(
      10,
      async () => {
        running += 1;
        most = Math.max(most, running);
        if (running === 3) release.resolve();
        await release.promise;
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      },
      { concurrency: 3 },
    );
    await eventually(async () => (await states(queue)).every((state) => state === 'completed'));
    await loop.stop();
    expect(most).toBe(3);
  });

  test('fills the slots beside a long job', async () => {
    const release = Promise.withResolvers<void>();
    const { queue } = await run(1, async ({ data }) => (data.n === 1 ? release.promise : undefined), {
      concurrency: 2,
    });
    await eventually(async () => (await states(queue))[0] === 'active');
    await jobs.send(queue, { n: 2 });
    await eventually(async () => (await states(queue))[1] === 'completed');
    await jobs.send(queue, { n: 3 });
    await eventually(async () => (await states(queue))[2] === 'completed');
    expect((await states(queue))[0]).toBe('active');
    release.resolve();
  });

  test('uses one connection a poll, once, when there is nothing to do', async () => {
    const { loop } = await run(0, async () => undefined);
    await eventually(() => loop.results.length > 0);
    let uses = 0;
    const count = (): void => {
      uses += 1;
    };
    const before = loop.results.length;
    database.pool.on('acquire', count);
    await eventually(() => loop.results.length >= before + 20);
    await loop.stop();
    database.pool.off('acquire', count);
    expect(uses).toBeLessThanOrEqual(loop.results.length - before + 1);
    expect(loop.results.at(-1)).toEqual({ events: 0, nextInMs: 20 });
  });

  test('records why a job failed, tries it again after the wait of its queue, and goes on with the others', async () => {
    const { queue, loop, ends } = await run(
      3,
      async ({ data, attempt }) => {
        if (data.n === 2 && attempt === 1)
          throw Object.assign(new Error('row 7 is broken'), { code: 'BAD_ROW' });
      },
      { queueOptions: { retryDelaySeconds: 100 } },
    );
    await eventually(() => ends.length === 3);
    const [, failed] = await rowsOf(database.pool, queue);
    expect(failed).toMatchObject({ state: 'retry', output: { message: 'row 7 is broken', code: 'BAD_ROW' } });
    expect(failed?.waitSeconds).toBeGreaterThan(50);
    await database.pool.query('update pgboss.job set start_after = now() where name = $1', [queue.name]);
    await eventually(async () => (await states(queue)).every((state) => state === 'completed'));
    expect(ends).toEqual(['completed', 'failed', 'completed', 'completed']);
    expect(loop.errors).toEqual([]);
  });

  test('does what a handler says of its job', async () => {
    const { queue, ends } = await run(
      4,
      async (job) => {
        if (job.data.n === 1) return { outcome: 'failed', error: 'never', retry: false };
        if (job.data.n === 2) return { outcome: 'failed', error: 'busy', retryInSeconds: 1_000 };
        if (job.data.n === 3 && job.attempt === 1) return { outcome: 'unfinished' };
        if (job.data.n === 3) return undefined;
        await jobs.complete(job, { output: { by: 'the handler' } });
        return { outcome: 'settled' };
      },
      { concurrency: 4 },
    );
    await eventually(() => ends.length === 5);
    expect(await rowsOf(database.pool, queue)).toMatchObject([
      { state: 'failed', output: { message: 'never' } },
      { state: 'retry', output: { message: 'busy' } },
      { state: 'completed', attempts: 2 },
      { state: 'completed', output: { by: 'the handler' } },
    ]);
    expect(ends.toSorted()).toEqual(['completed', 'failed', 'failed', 'settled', 'unfinished']);
  });

  test('fails a job whose end cannot be kept, instead of trying for ever', async () => {
    const { queue, ends } = await run(2, async ({ data }) =>
      data.n === 1
        ? { outcome: 'completed', output: { text: 'a\u0000b' } }
        : { outcome: 'failed', error: 'busy', retryInSeconds: Number.NaN },
    );
    await eventually(() => ends.length === 2);
    expect(ends).toEqual(['failed', 'failed']);
    expect(await rowsOf(database.pool, queue)).toMatchObject([
      { state: 'retry', output: { message: expect.stringContaining('Unicode') } },
      { state: 'retry', output: { code: 'JOBS_JOB_INVALID' } },
    ]);
  });

  test('shows in its checks that the last jobs failed, until one is completed', async () => {
    const queue = newQueue({ attempts: 1 });
    const loop = jobLoop({
      jobs,
      queue,
      async handler({ data }) {
        if (data.n < 3) throw new Error('a secret');
      },
    });
    const turned = turnLoop(loop);
    turning.push(turned);
    await jobs.ensureQueue(queue);
    for (const n of [1, 2]) await jobs.send(queue, { n });
    const shown = await eventually(() => {
      const { jobs: check } = loop.checks?.() ?? {};
      return check?.detail?.includes('last 2') === true ? check : undefined;
    });
    expect(shown).toEqual({ status: 'degraded', detail: `the last 2 job(s) of ${queue.name} failed` });
    await jobs.send(queue, { n: 3 });
    await eventually(() => loop.checks?.()['jobs']?.status === 'ok');
  });

  test.for([
    [{ concurrency: 0 }, 'expected concurrency of the loop of'],
    [{ pollMs: -1 }, 'expected pollMs of the loop of'],
    [{ cadenceMs: 100 }, 'to be a whole number from 5000 up, got 100'],
  ] as const)('refuses %o', ([options, message]) => {
    const queue = newQueue();
    expect(() => jobLoop({ jobs, queue, handler: async () => undefined, ...options })).toThrow(message);
  });
});

describe('a database that is away', () => {
  async function behindProxy(
    handler: JobHandler<Numbered>,
  ): Promise<{ proxy: TcpProxy; queue: Queue<Numbered>; loop: TurningLoop; close: () => Promise<void> }> {
    const queue = newQueue();
    await jobs.ensureQueue(queue);
    const proxy = await tcpProxy(database.url);
    const pool = createPool({ connection: { connectionString: proxy.url }, onIdleError: () => undefined });
    const own = openJobs({ pool, log: quiet });
    const loop = turnLoop(jobLoop({ jobs: own, queue, handler, pollMs: 20 }));
    return {
      proxy,
      queue,
      loop,
      async close() {
        await loop.stopNow();
        await own.stop();
        await pool.end();
        await proxy.close();
      },
    };
  }

  test('is told of a job that ended meanwhile as soon as it is back, and the job does not run again', async () => {
    const cut = Promise.withResolvers<void>();
    let runs = 0;
    const { proxy, queue, loop, close } = await behindProxy(async () => {
      runs += 1;
      await cut.promise;
    });
    await jobs.send(queue, { n: 1 });
    await eventually(() => runs === 1);
    proxy.cut();
    cut.resolve();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await states(queue)).toEqual(['active']);
    proxy.restore();
    await eventually(async () => (await states(queue))[0] === 'completed');
    expect(loop.errors).toEqual([]);
    expect(runs).toBe(1);
    await close();
  });

  test('makes ticks fail, and holds none of them: the loop goes on when it is back', async () => {
    const { proxy, queue, loop, close } = await behindProxy(async () => undefined);
    await eventually(() => loop.results.length > 0);
    proxy.stall();
    const error = await eventually(() => loop.errors[0]);
    expect(error).toMatchObject({ message: 'no answer within 10000 ms' });
    proxy.restore();
    await jobs.send(queue, { n: 1 });
    await eventually(async () => (await states(queue))[0] === 'completed');
    await close();
  });

  test('is not asked any more for what was given up: a fetch that arrives late takes nothing', async () => {
    const { proxy, queue, loop, close } = await behindProxy(async () => undefined);
    await eventually(() => loop.results.length > 0);
    await proxy.stallAt('SKIP LOCKED');
    await eventually(() => loop.errors[0]);
    await jobs.send(queue, { n: 1 });
    // The first that arrives is the fetch that was held up.
    proxy.restore();
    await eventually(async () => (await states(queue))[0] === 'completed');
    expect(await rowsOf(database.pool, queue)).toMatchObject([{ n: 1, attempts: 1 }]);
    await close();
  });
});

describe('a claim', () => {
  test('is kept up by heartbeats, for as long as the job runs', async () => {
    const release = Promise.withResolvers<void>();
    const { queue } = await run(2, async () => release.promise, {
      concurrency: 2,
      queueOptions: { heartbeatSeconds: 10 },
    });
    const beats = async (): Promise<number> => {
      const { rows } = await database.pool.query<{ beats: string }>(
        'select count(*) as beats from pgboss.job where name = $1 and heartbeat_on > started_on',
        [queue.name],
      );
      return Number(rows[0]?.beats);
    };
    await eventually(async () => (await beats()) === 2);
    release.resolve();
    await eventually(async () => (await states(queue)).every((state) => state === 'completed'));
  });

  test('that was lost ends the handler, whose end is not written any more', async () => {
    const lost = Promise.withResolvers<unknown>();
    const first = await run(
      1,
      async ({ attempt }, { signal }) => {
        if (attempt > 1) return;
        await aborted(signal);
        lost.resolve(signal.reason);
      },
      { queueOptions: { heartbeatSeconds: 10, retryDelaySeconds: 3_600 }, concurrency: 2 },
    );
    await eventually(async () => (await states(first.queue))[0] === 'active');
    await silence(database.pool, first.queue);
    await eventually(async () => {
      await jobs.maintain();
      return (await states(first.queue))[0] === 'retry';
    });
    expect(await lost.promise).toMatchObject({ code: 'JOBS_HEARTBEAT_LOST' });
    await eventually(() => first.ends.length === 1);
    expect(first.ends).toEqual(['lost']);
    expect(await states(first.queue)).toEqual(['retry']);
  });

  test('of a job that runs too long ends it, and says so', async () => {
    const { queue, ends } = await run(
      1,
      async (_job, { signal }) => {
        await aborted(signal);
        signal.throwIfAborted();
      },
      { queueOptions: { timeoutSeconds: 1, attempts: 1 } },
    );
    await eventually(() => ends.length === 1);
    expect(await rowsOf(database.pool, queue)).toMatchObject([
      {
        state: 'failed',
        output: { code: 'JOBS_JOB_TIMEOUT', message: expect.stringContaining('longer than 1 s') },
      },
    ]);
  });
});

describe('a stop in the middle of a job', () => {
  test('waits for one that finishes, and takes nothing new', async () => {
    const release = Promise.withResolvers<void>();
    const { queue, loop } = await run(3, async () => release.promise);
    await eventually(async () => (await states(queue)).includes('active'));
    const stopped = loop.stop();
    release.resolve();
    await stopped;
    expect((await states(queue)).toSorted()).toEqual(['completed', 'created', 'created']);
  });

  test('gives back what comes to a good place when it is asked to', async () => {
    const { queue, loop, ends } = await run(1, async (_job, { stopping }) => {
      await aborted(stopping);
      return { outcome: 'unfinished' };
    });
    await eventually(async () => (await states(queue)).includes('active'));
    await loop.stop();
    expect(ends).toEqual(['unfinished']);
    expect((await jobs.fetch(queue))[0]).toMatchObject({ attempt: 2, attemptsLeft: 4 });
  });

  test('gives back what is not finished when the drain time is over', async () => {
    const { queue, loop, ends } = await run(
      2,
      async (_job, { signal }) => {
        await aborted(signal);
        signal.throwIfAborted();
      },
      { concurrency: 2, queueOptions: { attempts: 1 } },
    );
    await eventually(async () => (await states(queue)).every((state) => state === 'active'));
    await loop.stopNow();
    expect(ends).toEqual(['unfinished', 'unfinished']);
    expect(await states(queue)).toEqual(['retry', 'retry']);
    expect(await jobs.fetch(queue, { batchSize: 5 })).toHaveLength(2);
  });

  test('has the jobs themselves wait for the handlers', async () => {
    const own = openJobs({ pool: database.pool, log: quiet });
    const release = Promise.withResolvers<void>();
    const { queue } = await run(1, async () => release.promise, { jobs: own });
    await eventually(async () => (await states(queue)).includes('active'));
    const stopped = own.stop();
    release.resolve();
    await stopped;
    expect(await states(queue)).toEqual(['completed']);
  });
});

describe('in a worker', () => {
  test('a job that makes progress is alive, and one that makes none is stuck', async () => {
    const queue = newQueue();
    await jobs.ensureQueue(queue);
    await jobs.send(queue, { n: 1 });
    let silent = false;
    const worker = createWorker({
      name: 'test',
      version: '0',
      log: quiet,
      port: 0,
      portVariable: 'PORT',
      once: false,
      stalenessMultiplier: 1,
      loops: [
        jobLoop({
          jobs,
          queue,
          cadenceMs: 5_000,
          async handler(_job, { signal, progress }) {
            const beating = setInterval(() => silent || progress(), 50);
            await aborted(signal);
            clearInterval(beating);
            signal.throwIfAborted();
          },
        }),
      ],
      drainMs: 50,
    });
    await worker.start();
    await eventually(async () => (await states(queue))[0] === 'active');
    const health = async (): Promise<number> =>
      (await fetch(`http://127.0.0.1:${worker.port}/health`)).status;
    // Longer than the stale time of five seconds, in which the job does nothing but beat.
    const until = performance.now() + 6_000;
    await eventually(async () => {
      expect(await health()).toBe(200);
      return performance.now() > until;
    });
    silent = true;
    await eventually(async () => (await health()) === 503);
    await worker.stop();
    expect(await worker.finished).toBe(0);
    expect(await states(queue)).toEqual(['retry']);
  });

  test('that turns once runs a batch to its end', async () => {
    const queue = newQueue();
    await jobs.ensureQueue(queue);
    for (const n of [1, 2, 3]) await jobs.send(queue, { n });
    const worker = createWorker({
      name: 'test',
      version: '0',
      log: quiet,
      port: 0,
      portVariable: 'PORT',
      once: true,
      stalenessMultiplier: 3,
      loops: [jobLoop({ jobs, queue, concurrency: 2, handler: async () => undefined })],
    });
    await worker.start();
    expect(await worker.finished).toBe(0);
    expect((await states(queue)).toSorted()).toEqual(['completed', 'completed', 'created']);
  });
});

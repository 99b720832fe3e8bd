// Workers in processes of their own, ended in the middle of a job.

import { createTestDatabase, eventually, runProgram } from '@pulsebox/test-support';
import type { Program, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { jobLoop, openJobs } from '../src/index.ts';
import type { Jobs, Queue } from '../src/index.ts';
import type { Numbered } from './job-rows.ts';
import { newQueue, rowsOf, silence } from './job-rows.ts';
import { quiet, turnLoop } from './turn-loop.ts';

let database: TestDatabase;
let jobs: Jobs;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  jobs = openJobs({ pool: database.pool, log: quiet, crashCheckSeconds: 1 });
});
afterAll(async () => {
  await jobs.stop();
  await database.drop();
});

async function workerInMidJob(queue: Queue<Numbered>): Promise<Program> {
  await jobs.ensureQueue(queue);
  await jobs.sendAll(queue, [{ data: { n: 1 } }, { data: { n: 2 } }]);
  const program = runProgram('packages/jobs/test/fixtures/worker.ts', {
    env: { DATABASE_URL: database.url, QUEUE: queue.name },
  });
  await program.says('began 1, attempt 1');
  await program.says('began 2, attempt 1');
  return program;
}

test('runs the jobs of a worker that was killed again, elsewhere, and not before it is taken for dead', async () => {
  const queue = newQueue({ heartbeatSeconds: 10, attempts: 2 });
  const program = await workerInMidJob(queue);
  program.kill('SIGKILL');
  await program.exited;

  const ran: string[] = [];
  const other = turnLoop(
    jobLoop({
      jobs,
      queue,
      pollMs: 20,
      async handler({ data, attempt }) {
        ran.push(`${data.n}/${attempt}`);
      },
    }),
  );
  await jobs.maintain();
  expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'active' }, { state: 'active' }]);
  await silence(database.pool, queue);
  await eventually(async () => {
    await jobs.maintain();
    return ran.length === 2;
  });
  await other.stop();
  expect(ran.toSorted()).toEqual(['1/2', '2/2']);
  expect(await rowsOf(database.pool, queue)).toMatchObject([{ state: 'completed' }, { state: 'completed' }]);
  expect(other.errors).toEqual([]);
});

test('has a stopping worker give its unfinished jobs back, and leave nothing that keeps it alive', async () => {
  const queue = newQueue({ heartbeatSeconds: 10, attempts: 1 });
  const program = await workerInMidJob(queue);
  program.kill('SIGTERM');
  await program.says('stopped');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  const given = await jobs.fetch(queue, { batchSize: 5 });
  expect(given.map(({ data }) => data.n).toSorted((a, b) => a - b)).toEqual([1, 2]);
  expect(given).toMatchObject([
    { attempt: 2, attemptsLeft: 0 },
    { attempt: 2, attemptsLeft: 0 },
  ]);
});

import { createLogger } from '@pulsebox/loop';
import { transaction } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { deleteQueues } from '../src/delete-queues.ts';
import { openJobs } from '../src/open-jobs.ts';
import type { Jobs } from '../src/open-jobs.ts';
import { defineQueue } from '../src/queue.ts';

let database: TestDatabase;
let jobs: Jobs;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
beforeEach(() => {
  jobs = openJobs({ pool: database.pool, log: createLogger({ worker: 'test', level: 'silent' }) });
});
afterEach(async () => {
  await jobs.stop();
  await deleteQueues(database.pool, '');
});
afterAll(async () => {
  await database.drop();
});

const queues = ['a/1', 'a/2', 'a/10', 'ab/1', 'b'].map((name) => defineQueue<{ n: number }>(name));

async function withJobs(): Promise<void> {
  for (const queue of queues) {
    await jobs.ensureQueue(queue);
    await jobs.send(queue, { n: 1 });
  }
}

async function left(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    `select q.name from pgboss.queue q join pgboss.job j on j.name = q.name order by q.name collate "C"`,
  );
  return rows.map(({ name }) => name);
}

test('queues are removed by the beginning of their names, with their jobs, but for those to keep', async () => {
  await withJobs();
  expect(await deleteQueues(database.pool, 'a/', { keep: ['a/2', 'nowhere'] })).toBe(2);
  expect(await left()).toEqual(['a/2', 'ab/1', 'b']);
  const { rows } = await database.pool.query('select distinct name from pgboss.job');
  expect(rows).toHaveLength(3);
  expect(await deleteQueues(database.pool, 'a/')).toBe(1);
  expect(await deleteQueues(database.pool, 'a/')).toBe(0);
});

test('what is removed in a transaction that is rolled back stays', async () => {
  await withJobs();
  const undone = transaction(database.pool, async (client) => {
    expect(await deleteQueues(client, 'a/')).toBe(3);
    throw new Error('no');
  });
  await expect(undone).rejects.toThrow('no');
  expect(await left()).toHaveLength(5);
});

test('a queue that was removed under a process that knew it is refused, and may be made again', async () => {
  await withJobs();
  await deleteQueues(database.pool, 'b');
  const [, , , , queue = queues[0]!] = queues;
  await expect(jobs.send(queue, { n: 2 })).rejects.toMatchObject({ code: 'JOBS_QUEUE_UNKNOWN' });
  expect(await jobs.fetch(queue)).toEqual([]);
  await jobs.ensureQueue(queue);
  expect(await jobs.send(queue, { n: 3 })).toMatchObject({ sent: true });
  expect((await jobs.fetch(queue)).map(({ data }) => data)).toEqual([{ n: 3 }]);
});

test('a database that never had jobs has none to remove', async () => {
  const bare = await createTestDatabase(inject('serverUrl'), { migrated: false });
  try {
    expect(await deleteQueues(bare.pool, '')).toBe(0);
  } finally {
    await bare.drop();
  }
});

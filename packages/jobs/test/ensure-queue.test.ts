import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { defineQueue, openJobs } from '../src/index.ts';
import type { Jobs } from '../src/index.ts';
import { newQueue } from './job-rows.ts';
import { quiet } from './turn-loop.ts';

let database: TestDatabase;
let jobs: Jobs;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  jobs = openJobs({ pool: database.pool, log: quiet });
});
afterAll(async () => {
  await jobs.stop();
  await database.drop();
});

describe('making a queue', () => {
  test('may be done by many at once, and over again', async () => {
    const queue = newQueue({ attempts: 7 });
    const others = Array.from({ length: 5 }, () => openJobs({ pool: database.pool, log: quiet }));
    await Promise.all(others.map(async (one) => one.ensureQueue(queue)));
    await jobs.ensureQueue(queue);
    const { rows } = await database.pool.query(
      'select policy, retry_limit, table_name, notify from pgboss.queue where name = $1',
      [queue.name],
    );
    expect(rows).toEqual([{ policy: 'standard', retry_limit: 6, table_name: 'job_common', notify: false }]);
    await Promise.all(others.map(async (one) => one.stop()));
  });

  test('brings its options up to date, for jobs that are sent from then on', async () => {
    const queue = newQueue({ attempts: 2, timeoutSeconds: 10 });
    await jobs.ensureQueue(queue);
    await jobs.send(queue, { n: 1 });
    const changed = defineQueue<{ n: number }>(queue.name, { attempts: 9, heartbeatSeconds: 60 });
    await jobs.ensureQueue(changed);
    await jobs.send(changed, { n: 2 });
    const [old, young] = (await jobs.fetch(changed, { batchSize: 2 })).toSorted(
      (a, b) => a.data.n - b.data.n,
    );
    expect(old).toMatchObject({ attemptsLeft: 1, timeoutSeconds: 10, heartbeatSeconds: 30 });
    expect(young).toMatchObject({ attemptsLeft: 8, timeoutSeconds: 900, heartbeatSeconds: 60 });
  });

  test('writes nothing when there is nothing to change', async () => {
    const queue = newQueue();
    await jobs.ensureQueue(queue);
    const before = await database.pool.query('select xmin from pgboss.queue where name = $1', [queue.name]);
    await jobs.ensureQueue(queue);
    const after = await database.pool.query('select xmin from pgboss.queue where name = $1', [queue.name]);
    expect(after.rows).toEqual(before.rows);
  });

  test('says when one is there that has another policy, and leaves it as it is', async () => {
    const queue = newQueue({ policy: 'exclusive' });
    await jobs.ensureQueue(queue);
    const other = defineQueue(queue.name, { policy: 'short', attempts: 9 });
    await expect(jobs.ensureQueue(other)).rejects.toMatchObject({
      code: 'JOBS_QUEUE_POLICY',
      message: `expected the queue ${queue.name} to have the policy short, got exclusive`,
      hint: expect.stringContaining('cannot be changed'),
    });
    const { rows } = await database.pool.query(
      'select policy, retry_limit from pgboss.queue where name = $1',
      [queue.name],
    );
    expect(rows).toEqual([{ policy: 'exclusive', retry_limit: 4 }]);
  });
});

describe('a definition', () => {
  test.for([
    ['Redrive', {}, `expected a queue's name, got "Redrive"`],
    ['x'.repeat(101), {}, `expected a queue's name`],
    ['q', { policy: 'stately' as 'short' }, 'one of standard, short, exclusive, got "stately"'],
    ['q', { attempts: 0 }, 'expected attempts of q to be a whole number from 1 to 1000, got 0'],
    [
      'q',
      { heartbeatSeconds: 9 },
      'expected heartbeatSeconds of q to be a whole number from 10 to 86400, got 9',
    ],
    [
      'q',
      { timeoutSeconds: 0.5 },
      'expected timeoutSeconds of q to be a whole number from 1 to 86400, got 0.5',
    ],
  ] as const)('of %s with %o is refused', ([name, options, message]) => {
    expect(() => defineQueue(name, options)).toThrow(
      expect.objectContaining({ code: 'JOBS_QUEUE_INVALID', message: expect.stringContaining(message) }),
    );
  });
});

import { createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openJobs } from '../src/index.ts';
import type { Jobs, ScheduleRun } from '../src/index.ts';
import { newQueue, rowsOf } from './job-rows.ts';
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

/** The cron expression of the minute that was so many minutes ago, once a day. */
async function minutesAgo(minutes: number): Promise<string> {
  const { rows } = await database.pool.query<{ cron: string }>(
    `select to_char(now() at time zone 'UTC' - $1 * interval '1 min', 'FMMI FMHH24 * * *') as cron`,
    [minutes],
  );
  return rows[0]?.cron ?? '';
}

/** As if nobody had sent what was scheduled for so long, and the schedules had been there all the while. */
async function nobodyFor(minutes: number): Promise<void> {
  const ago = `now() - ${minutes} * interval '1 min'`;
  await database.pool.query(`update pgboss.schedule set created_on = ${ago}, updated_on = ${ago}`);
  await database.pool.query(`update pgboss.version set cron_on = ${ago}`);
}

test('sends what came due while nobody was there, once however many processes there are', async () => {
  const queue = newQueue();
  await jobs.ensureQueue(queue);
  const cron = await minutesAgo(5);
  await jobs.schedule(queue, { n: 1 }, { key: 'missed', cron });
  await jobs.schedule(queue, { n: 2 }, { key: 'skipped', cron, missed: 'skip' });
  await jobs.schedule(queue, { n: 3 }, { key: 'later', cron: await minutesAgo(-60), timeZone: 'UTC' });
  await nobodyFor(10);
  const senders = [1, 2, 3].map(() => openJobs({ pool: database.pool, log: quiet, schedules: true }));
  await Promise.all(senders.map(async (sender) => sender.ready()));
  await eventually(async () => (await rowsOf(database.pool, queue)).length > 0);
  await Promise.all(senders.map(async (sender) => sender.stop()));
  expect(await rowsOf(database.pool, queue)).toMatchObject([{ n: 1, state: 'created' }]);
});

test('is replaced by the next of its key, and forgotten when it is no longer wanted', async () => {
  const queue = newQueue();
  await jobs.ensureQueue(queue);
  await jobs.schedule(queue, { n: 1 }, { key: 'nightly', cron: '0 3 * * *' });
  await jobs.schedule(queue, { n: 2 }, { key: 'nightly', cron: '0 4 * * *', timeZone: 'Europe/Vienna' });
  expect(await jobs.schedules(queue)).toEqual([
    { key: 'nightly', cron: '0 4 * * *', timeZone: 'Europe/Vienna', data: { n: 2 } },
  ]);
  await jobs.unschedule(queue, 'nightly');
  await jobs.unschedule(queue, 'nightly');
  expect(await jobs.schedules(queue)).toEqual([]);
});

test('is not sent by processes that do not send what is scheduled', async () => {
  const queue = newQueue();
  await jobs.ensureQueue(queue);
  await jobs.schedule(queue, { n: 1 }, { cron: '* * * * *' });
  await nobodyFor(5);
  await jobs.maintain();
  const { rows } = await database.pool.query<{ late: boolean }>(
    `select cron_on < now() - interval '4 min' as late from pgboss.version`,
  );
  expect(rows).toEqual([{ late: true }]);
  expect(await rowsOf(database.pool, queue)).toEqual([]);
  await jobs.unschedule(queue);
});

test('says when each schedule last ran to its end', async () => {
  const queue = newQueue();
  await jobs.ensureQueue(queue);
  await jobs.schedule(queue, { n: 1 }, { key: 'one', cron: '*/10 * * * *' });
  await jobs.schedule(queue, { n: 2 }, { key: 'two', cron: '0 3 * * *' });
  await nobodyFor(90);
  const runs = async (): Promise<readonly ScheduleRun[]> =>
    (await jobs.scheduleRuns()).filter((run) => run.queue === queue.name);
  expect(await runs()).toMatchObject([
    { key: 'one', everySeconds: 600, succeededSecondsAgo: null },
    { key: 'two', everySeconds: 86_400, succeededSecondsAgo: null },
  ]);
  expect((await runs())[0]?.scheduledForSeconds).toBeGreaterThan(5_000);
  await jobs.send(queue, { n: 1 });
  await jobs.send(queue, { n: 3 });
  for (const job of await jobs.fetch(queue, { batchSize: 2 })) await jobs.complete(job);
  const [one, two] = await runs();
  expect(one?.succeededSecondsAgo).toBeGreaterThanOrEqual(0);
  expect(one?.succeededSecondsAgo).toBeLessThan(5_000);
  expect(two?.succeededSecondsAgo).toBeNull();
  for (const key of ['one', 'two']) await jobs.unschedule(queue, key);
});

test.for([
  ['every minute', 'UTC'],
  ['0 0 30 2 *', 'UTC'],
  ['* * * * *', 'Europe/Wien'],
] as const)('refuses %s in %s', async ([cron, timeZone]) => {
  const queue = newQueue();
  await jobs.ensureQueue(queue);
  await expect(jobs.schedule(queue, { n: 1 }, { cron, timeZone })).rejects.toMatchObject({
    code: 'JOBS_SCHEDULE_INVALID',
    message: expect.stringContaining(`expected a schedule for ${queue.name}, got "${cron}" in ${timeZone}`),
  });
});

// Upkeep by the clock, against a real database.

import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { createLogger, createRegistry } from '@pulsebox/loop';
import type { Loop, Registry } from '@pulsebox/loop';
import { registerGroup } from '@pulsebox/outbox';
import { createTestDatabase, documentedFamilies, servedFamilies } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { scheduleWatch, upkeep, upkeepMetrics, upkeepQueue, upkeepTasks } from '@pulsebox/worker-base';
import type { UpkeepMetrics, UpkeepTask } from '@pulsebox/worker-base';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';

/** A busy machine takes its time. */
const quiet = createLogger({ worker: 'test', level: 'silent' });

let db: TestDatabase;
let jobs: Jobs;
let registry: Registry;
let metrics: UpkeepMetrics;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  jobs = openJobs({ pool: db.pool, log: quiet });
  await jobs.ensureQueue(upkeepQueue);
});
afterAll(async () => {
  await jobs.stop();
  await db.drop();
});
beforeEach(async () => {
  registry = createRegistry();
  metrics = upkeepMetrics(registry);
  await db.pool.query('delete from pgboss.job');
  await db.pool.query('delete from pgboss.schedule');
});

function tasks(deadLetterSeconds?: number): readonly UpkeepTask[] {
  return upkeepTasks({ pool: db.pool, jobs, retention: { keepSeconds: 0 }, deadLetterSeconds });
}

/** One turn, as the loop library would have it turn. */
async function turn(loop: Loop): Promise<void> {
  const { signal } = new AbortController();
  await loop.tick({ signal, stopping: signal, progress: () => undefined, log: quiet });
}

async function runs(task: string, deadLetterSeconds?: number): Promise<unknown> {
  const loop = upkeep({ jobs, tasks: tasks(deadLetterSeconds), metrics, log: quiet });
  await jobs.send(upkeepQueue, { task });
  await turn(loop);
  const { rows } = await db.pool.query<{ state: string; output: unknown }>(
    `select state, output from pgboss.job where name = 'upkeep' and data ->> 'task' = $1`,
    [task],
  );
  return rows[0];
}

test('schedules what is configured, and takes back what no longer is', async () => {
  await turn(upkeep({ jobs, tasks: tasks(86_400), metrics, log: quiet }));
  expect((await jobs.schedules(upkeepQueue)).map(({ key }) => key)).toEqual(['dead-letters', 'jobs', 'log']);
  await turn(upkeep({ jobs, tasks: tasks(), metrics, log: quiet }));
  expect((await jobs.schedules(upkeepQueue)).map(({ key }) => key)).toEqual(['jobs', 'log']);
});

test('drops partitions of the log that every group has passed, and says what is in the way of the others', async () => {
  expect(await runs('log')).toMatchObject({
    state: 'completed',
    output: { removed: 0, remark: expect.stringMatching(/^(?:kept|behind|open)/) },
  });
  expect(await registry.metrics()).toContain('upkeep_runs_total{task="log",outcome="completed"} 1');
});

test('discards dead letters of a certain age, and keeps younger ones', async () => {
  await registerGroup(db.pool, 'search', 'beginning');
  await db.pool.query(
    `insert into outbox.parked (group_name, position, topic, key, payload, headers, created_at, state, failed_at)
     select 'search', n, 'item.upserted', null, '{}', '{}', now(), 'dead', now() - n * interval '1 day'
     from generate_series(1, 5) n`,
  );
  expect(await runs('dead-letters', 3 * 86_400 - 60)).toMatchObject({
    state: 'completed',
    output: { removed: 3 },
  });
  const { rows } = await db.pool.query<{ left: number }>('select count(*)::int as left from outbox.parked');
  expect(rows).toEqual([{ left: 2 }]);
  expect(await registry.metrics()).toContain('upkeep_removed_total{task="dead-letters"} 3');
});

test('deletes finished jobs that are old enough', async () => {
  expect(await runs('jobs')).toMatchObject({ state: 'completed' });
});

test('a run that fails is counted, and is not tried again before its time', async () => {
  const broken: UpkeepTask = {
    name: 'broken',
    cron: '*/10 * * * *',
    run: () => Promise.reject(new Error('no')),
  };
  const loop = upkeep({ jobs, tasks: [broken], metrics, log: quiet });
  await jobs.send(upkeepQueue, { task: 'broken' });
  await turn(loop);
  await turn(loop);
  const { rows } = await db.pool.query(`select state from pgboss.job where name = 'upkeep'`);
  expect(rows).toEqual([{ state: 'failed' }]);
  expect(await registry.metrics()).toContain('upkeep_runs_total{task="broken",outcome="failed"} 1');
});

test('what is scheduled and does not run is told in metrics and checks, until it does', async () => {
  await turn(upkeep({ jobs, tasks: tasks(), metrics, log: quiet }));
  const watch = scheduleWatch({ pool: db.pool, jobs, metrics, holder: 'test' });
  await turn(watch);
  expect(await registry.metrics()).toContain('schedule_overdue{schedule="upkeep/log"} 0');
  await db.pool.query(`update pgboss.schedule set created_on = now() - interval '1 hour'`);
  await turn(watch);
  expect(await registry.metrics()).toContain('schedule_overdue{schedule="upkeep/log"} 1');
  expect(watch.checks?.()['schedules']).toEqual({
    status: 'degraded',
    detail: 'did not run for more than two of their intervals: upkeep/jobs, upkeep/log',
  });
  await runs('log');
  await turn(watch);
  expect(await registry.metrics()).toContain('schedule_overdue{schedule="upkeep/log"} 0');
  expect(await registry.metrics()).toContain('schedule_overdue{schedule="upkeep/jobs"} 1');
  await watch.stop?.();
  expect(await registry.metrics()).not.toContain('schedule_overdue{');
});

test('of two that watch, one tells', async () => {
  await turn(upkeep({ jobs, tasks: tasks(), metrics, log: quiet }));
  const first = scheduleWatch({ pool: db.pool, jobs, metrics, holder: 'first' });
  const other = createRegistry();
  const second = scheduleWatch({ pool: db.pool, jobs, metrics: upkeepMetrics(other), holder: 'second' });
  await turn(first);
  await turn(second);
  expect(await other.metrics()).not.toContain('schedule_overdue{');
  await first.stop?.();
  await turn(second);
  expect(await other.metrics()).toContain('schedule_overdue{schedule="upkeep/log"} 0');
  await second.stop?.();
});

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  metrics.runs.inc({ task: 'log', outcome: 'completed' }, 0);
  metrics.removed.inc({ task: 'log' }, 0);
  metrics.duration.observe({ task: 'log' }, 0);
  metrics.lastSuccess.set({ schedule: 'upkeep/log' }, 0);
  metrics.overdue.set({ schedule: 'upkeep/log' }, 0);
  const ours = (await servedFamilies(registry)).filter((family) => /^(?:upkeep|schedule)_/.test(family));
  expect(documentedFamilies('packages/worker-base')).toEqual(ours);
});

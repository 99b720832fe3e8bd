// The whole way of a job where it is likeliest to differ: behind PgBouncer in transaction mode, and on the oldest server.

import { createPool, migrate, postgresMigrations } from '@pulsebox/postgres';
import {
  createTestDatabase,
  debianPostgresInstalled,
  eventually,
  startDebianServer,
} from '@pulsebox/test-support';
import { describe, expect, inject, test } from 'vitest';
import { jobLoop, jobsMigrations, openJobs } from '../src/index.ts';
import { newQueue, rowsOf } from './job-rows.ts';
import { pgbouncerInstalled, startPgBouncer } from './pgbouncer.ts';
import { quiet, turnLoop } from './turn-loop.ts';

if (!pgbouncerInstalled) process.stderr.write('PgBouncer is not installed: jobs are not tried behind it\n');
if (!debianPostgresInstalled)
  process.stderr.write('PostgreSQL 15 is not installed: jobs are not tried on it\n');

async function wholeWay(url: string): Promise<void> {
  const pool = createPool({ connection: { connectionString: url }, max: 4, onIdleError: () => undefined });
  const two = [1, 2].map(() => openJobs({ pool, log: quiet, crashCheckSeconds: 1 }));
  const [jobs, others] = two as [(typeof two)[0], (typeof two)[0]];
  const queue = newQueue({ policy: 'exclusive', retryDelaySeconds: 1 });
  await Promise.all(two.map(async (one) => one.ensureQueue(queue)));
  const ran = new Set<string>();
  const loops = [jobs, others].map((one) =>
    turnLoop(
      jobLoop({
        jobs: one,
        queue,
        pollMs: 20,
        concurrency: 3,
        async handler({ data, attempt }) {
          ran.add(`${data.n}/${attempt}`);
          if (data.n === 3 && attempt === 1) return { outcome: 'failed', error: 'busy', retryInSeconds: 0.1 };
          if (data.n === 4 && attempt === 1) return { outcome: 'unfinished' };
          return undefined;
        },
      }),
    ),
  );
  await jobs.sendAll(
    queue,
    Array.from({ length: 12 }, (_, index) => ({ data: { n: index + 1 }, key: `item:${index + 1}` })),
  );
  await eventually(async () => {
    await others.maintain();
    const rows = await rowsOf(pool, queue);
    return rows.length === 12 && rows.every(({ state }) => state === 'completed');
  });
  await Promise.all(loops.map(async (loop) => loop.stop()));
  expect(loops.flatMap(({ errors }) => errors)).toEqual([]);
  expect(ran.size).toBe(14);
  await Promise.all(two.map(async (one) => one.stop()));
  await pool.end();
}

describe('jobs', () => {
  test.skipIf(!pgbouncerInstalled)('work behind PgBouncer in transaction mode', async () => {
    const database = await createTestDatabase(inject('serverUrl'));
    const pooler = await startPgBouncer(database.url);
    await wholeWay(pooler.url);
    await pooler.stop();
    await database.drop();
  });

  test.skipIf(!debianPostgresInstalled)('work on PostgreSQL 15', async () => {
    const server = await startDebianServer();
    await migrate({ connectionString: server.url }, [postgresMigrations, jobsMigrations]);
    await wholeWay(server.url);
    await server.stop();
  });
});

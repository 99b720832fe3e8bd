// Jobs that are opened on a database that is there, away or empty, and how they stop.

import { createPool } from '@pulsebox/postgres';
import { createTestDatabase, tcpProxy } from '@pulsebox/test-support';
import { describe, expect, inject, test } from 'vitest';
import { openJobs } from '../src/index.ts';
import { newQueue } from './job-rows.ts';
import { jobsDesk } from './jobs-desk.ts';
import { quiet } from './turn-loop.ts';

const desk = jobsDesk();

describe('opening and stopping', () => {
  test('asks the database nothing until it is used, and survives one that is away at first', async () => {
    const proxy = await tcpProxy(desk.database.url);
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
      connection: { connectionString: desk.database.url },
      max: 1,
      onIdleError: () => undefined,
    });
    const jobs = openJobs({ pool, log: quiet });
    const queue = newQueue();
    await jobs.ready();
    await desk.database.pool.query('alter table pgboss.queue rename to queue_away');
    await expect(jobs.ensureQueue(queue)).rejects.toThrow('pgboss.queue');
    await desk.database.pool.query('alter table pgboss.queue_away rename to queue');
    await jobs.ensureQueue(queue);
    const { rows } = await pool.query('select pg_current_xact_id_if_assigned() as xid');
    expect(rows).toEqual([{ xid: null }]);
    await jobs.stop();
    expect(pool.waitingCount).toBe(0);
    await pool.end();
  });

  test('is safe before a start and any number of times, waits for what is in use, and then refuses', async () => {
    const never = desk.open();
    await Promise.all([never.stop(), never.stop()]);
    await expect(never.ready()).rejects.toMatchObject({ code: 'JOBS_STOPPED' });

    const { jobs, queue } = await desk.openWith();
    const sent = jobs.sendAll(queue, [{ data: { n: 1 } }]);
    await Promise.all([jobs.stop(), jobs.stop()]);
    expect(await sent).toMatchObject([{ sent: true }]);
    await expect(jobs.fetch(queue)).rejects.toMatchObject({ code: 'JOBS_STOPPED' });
    const { rows } = await desk.database.pool.query('select 1 as alive');
    expect(rows).toEqual([{ alive: 1 }]);
  });

  test('stops while it starts', async () => {
    for (let turn = 0; turn < 10; turn += 1) {
      const jobs = desk.open();
      const ready = jobs.ready().catch((error: unknown) => error);
      await jobs.stop();
      await ready;
    }
    expect(desk.database.pool.waitingCount).toBe(0);
  });

  test('refuses an interval that is none', () => {
    expect(() => desk.open(0)).toThrow('expected crashCheckSeconds to be a whole number from 1 up, got 0');
  });
});

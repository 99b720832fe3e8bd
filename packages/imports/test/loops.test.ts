// From the event to the end of the run, as a worker turns it; and upkeep.

import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { createImports, pauseImport } from '@pulsebox/imports';
import type { Imports } from '@pulsebox/imports';
import { openJobs } from '@pulsebox/jobs';
import type { Jobs } from '@pulsebox/jobs';
import { createLogger } from '@pulsebox/loop';
import type { Loop } from '@pulsebox/loop';
import type { OutboxEvent } from '@pulsebox/outbox';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { readRows } from '../src/rows.ts';
import { native, ndjson, openDesk } from './import-desk.ts';
import type { ImportDesk } from './import-desk.ts';

let desk: ImportDesk;
let jobs: Jobs;
let registry: Registry;
let imports: Imports;

const log = createLogger({ worker: 'test', level: 'silent' });
const { signal } = new AbortController();
const context = { signal, stopping: signal, progress: () => undefined, log };

beforeAll(async () => {
  desk = await openDesk(inject('serverUrl'));
  jobs = openJobs({ pool: desk.database.pool, log });
});
beforeEach(() => {
  registry = new Registry();
  imports = createImports({
    pool: desk.database.pool,
    jobs,
    directory: desk.directory,
    registry,
    chunkRows: 10,
    pollMs: 10,
  });
});
afterEach(async () => {
  await desk.clear();
  await desk.database.pool.query('delete from pgboss.job');
});
afterAll(async () => {
  await jobs.stop();
  await desk.close();
});

function loop(name: string): Loop {
  const found = imports.loops.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no loop ${name}`);
  return found;
}

async function handle(...payloads: readonly unknown[]): Promise<unknown> {
  const events = payloads.map((payload, index) => ({
    topic: 'import.requested',
    payload,
    position: index + 1,
    key: null,
    headers: {},
    createdAt: new Date(),
  })) as unknown as OutboxEvent[];
  return await imports.handler(
    { group: 'imports', lane: 0, events },
    { signal, fencingToken: 1, progress: () => undefined, log },
  );
}

async function metric(name: string): Promise<readonly { readonly labels: object; readonly value: number }[]> {
  const family = (await registry.getMetricsAsJSON()).find((one) => one.name === name);
  return family?.values ?? [];
}

const three = ndjson([native(1), native(2), { nonsense: 1 }]);

test('an event, delivered twice, makes one run', async () => {
  const jobId = await desk.request(three);
  expect(await handle({ job_id: jobId }, { job_id: jobId })).toEqual({ failed: [] });
  await handle({ job_id: jobId });
  expect(await loop('import-jobs').tick(context)).toMatchObject({ events: 1 });
  expect(await desk.status(jobId)).toMatchObject({ state: 'completed', counts: { created: 2, failed: 1 } });
  expect(await loop('import-jobs').tick(context)).toMatchObject({ events: 0 });
  await handle({ job_id: jobId });
  await loop('import-jobs').tick(context);
  expect(await desk.events()).toEqual(['1', '2']);
  expect(await metric('imports_rows_total')).toEqual(
    expect.arrayContaining([
      { labels: { outcome: 'created' }, value: 2 },
      { labels: { outcome: 'failed' }, value: 1 },
    ]),
  );
  expect(await metric('imports_runs_total')).toEqual([{ labels: { outcome: 'completed' }, value: 1 }]);
});

test('an event that names no import is a fault that no retry mends; one of an import that is gone is none', async () => {
  const outcome = await handle({ job_id: 'nonsense' }, {}, null, [1], { job_id: randomUUID() });
  expect(outcome).toMatchObject({
    failed: [1, 2, 3, 4].map((position) => ({
      position,
      retryable: false,
      reason:
        'expected the payload of import.requested to have a job_id that is a UUID (IMPORTS_REQUEST_INVALID)',
    })),
  });
  expect(await loop('import-jobs').tick(context)).toMatchObject({ events: 1 });
});

test('a worker that stops in the middle puts the job back, and the next run goes on', async () => {
  const jobId = await desk.request(ndjson(Array.from({ length: 200 }, (_, n) => native(n))));
  await handle({ job_id: jobId });
  const stop = new AbortController();
  let beats = 0;
  await loop('import-jobs').tick({
    ...context,
    stopping: stop.signal,
    progress: () => {
      beats += 1;
      if (beats === 3) stop.abort();
    },
  });
  const { state, counts } = await desk.status(jobId);
  expect(state).toBe('queued');
  expect(counts.processed).toBeLessThan(200);
  await loop('import-jobs').tick(context);
  expect(await desk.status(jobId)).toMatchObject({ state: 'completed', counts: { created: 200 } });
});

test('what nobody runs is sent again: without its event, or with a worker that died', async () => {
  const { pool } = desk.database;
  const ids = [await desk.request(three), await desk.request(three), await desk.request(three)];
  await pool.query(
    `update app.import_jobs set state = 'running', run = 1, runner = gen_random_uuid() where job_id = $1`,
    [ids[1]],
  );
  await pauseImport(pool, ids[2] ?? '');
  await loop('imports-upkeep').tick(context);
  // They may have been asked for a moment ago.
  expect(await loop('import-jobs').tick(context)).toMatchObject({ events: 0 });
  await pool.query(`update app.import_jobs set beat_at = now() - interval '2 minutes'`);
  await loop('imports-upkeep').tick(context);
  await loop('imports-upkeep').tick(context);
  await loop('import-jobs').tick(context);
  await loop('import-jobs').tick(context);
  expect(await Promise.all(ids.map(async (id) => (await desk.status(id)).state))).toEqual([
    'completed',
    'completed',
    'paused',
  ]);
});

test('gauges say what waits, and for how long', async () => {
  const { pool } = desk.database;
  const ids = [await desk.request(three), await desk.request(three)];
  await pauseImport(pool, ids[1] ?? '');
  await pool.query(`update app.import_jobs set beat_at = now() - interval '50 seconds'`);
  await loop('imports-upkeep').tick(context);
  expect(await metric('imports_open')).toEqual([
    { labels: { state: 'queued' }, value: 1 },
    { labels: { state: 'running' }, value: 0 },
    { labels: { state: 'paused' }, value: 1 },
  ]);
  expect((await metric('imports_oldest_queued_age_seconds'))[0]?.value).toBeGreaterThanOrEqual(50);
});

test('what ended long ago is forgotten, with its faults and with the file that was its own', async () => {
  const { pool } = desk.database;
  const own = await desk.request('nonsense that is cut off', { deleteFile: true, filePath: 'own.json' });
  const others = await desk.request('nonsense', { filePath: 'others.json' });
  const completed = await desk.request(three, { deleteFile: true, filePath: 'done.ndjson' });
  const recent = await desk.request('nonsense', { deleteFile: true, filePath: 'recent.json' });
  for (const jobId of [own, others, completed, recent]) await desk.run(jobId);
  expect(await readdir(desk.directory)).not.toContain('done.ndjson');
  // Another file of the name of one that was taken away belongs to somebody else.
  await writeFile(join(desk.directory, 'done.ndjson'), 'new');
  await pool.query(`update app.import_jobs set ended_at = now() - interval '31 days' where job_id <> $1`, [
    recent,
  ]);
  await loop('imports-upkeep').tick(context);
  const { rows } = await pool.query('select job_id from app.import_jobs');
  expect(rows).toEqual([{ job_id: recent }]);
  const { rows: faults } = await pool.query('select from app.import_faults where job_id = $1', [completed]);
  expect(faults).toEqual([]);
  const files = await readdir(desk.directory);
  expect(files).toEqual(expect.arrayContaining(['others.json', 'recent.json', 'done.ndjson']));
  expect(files).not.toContain('own.json');
});

test('reading gives others their turns, also while nothing has to be waited for', async () => {
  const block = Buffer.from(
    ndjson(Array.from({ length: 3_000 }, (_, n) => native(n, { text: 'words '.repeat(30) }))),
  );
  async function* source(): AsyncGenerator<Buffer> {
    for (let n = 0; n < 20; n += 1) yield block;
  }
  let turns = 0;
  const over = new AbortController();
  const others = (async (): Promise<void> => {
    while (!over.signal.aborted) {
      await setImmediate();
      turns += 1;
    }
  })();
  let rows = 0;
  const options = { path: 'x', format: 'ndjson', mapping: {}, skip: 0 } as const;
  for await (const { number } of readRows(source(), options)) rows = number;
  const during = turns;
  over.abort();
  await others;
  expect(rows).toBe(60_000);
  // 60,000 rows take at the very least 100 ms, and a turn comes every 5 ms. A slow machine has more of them.
  expect(during).toBeGreaterThanOrEqual(10);
});

// Imports that are killed, stopped, paused, taken over: nothing is lost, and nothing is done twice.

import { hash, randomUUID } from 'node:crypto';
import { appendFile, utimes, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { cancelImport, pauseImport, resumeImport, retryImport } from '@pulsebox/imports';
import { eventually, runProgram } from '@pulsebox/test-support';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RunOptions } from '../src/run-import.ts';
import { beginRun, recordChunk } from '../src/run-record.ts';
import { deskOfFile, native, ndjson } from './import-desk.ts';
import type { ImportDesk } from './import-desk.ts';

let desk: ImportDesk;

deskOfFile((opened) => {
  desk = opened;
});

const FIXTURE = fileURLToPath(new URL('./fixtures/run-imports.ts', import.meta.url));
const smallChunks = { chunk: { rows: 10, bytes: 1_000_000 } };

/** Rows of which every third comes again, changed, and every seventh is no row. */
function manyRows(count: number): unknown[] {
  return Array.from({ length: count }, (_, n) => {
    if (n % 7 === 3) return { nonsense: n };
    return n % 3 === 2 ? native(`id ${n - 2}`, { n }) : native(`id ${n}`, { text: 'words '.repeat(20) });
  });
}

interface Outcome {
  readonly items: ReadonlyMap<string, unknown>;
  readonly events: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** What one row after the other would come to. */
function model(rows: readonly unknown[], updateExisting = true): Outcome {
  const items = new Map<string, unknown>();
  const events: string[] = [];
  const counts = { processed: 0, created: 0, updated: 0, unchanged: 0, skipped: 0, failed: 0 };
  for (const row of rows as { canonical_id?: string; item?: unknown }[]) {
    counts.processed += 1;
    const { canonical_id: id, item } = row;
    if (id === undefined) counts.failed += 1;
    else if (!items.has(id)) counts.created += 1;
    else if (JSON.stringify(items.get(id)) === JSON.stringify(item)) counts.unchanged += 1;
    else if (updateExisting) counts.updated += 1;
    else counts.skipped += 1;
    if (id === undefined || JSON.stringify(items.get(id)) === JSON.stringify(item)) continue;
    if (items.has(id) && !updateExisting) continue;
    items.set(id, item);
    events.push(id);
  }
  return { items, events, counts };
}

async function expectOutcome(jobId: string, expected: Outcome): Promise<void> {
  expect(await desk.status(jobId)).toMatchObject({ state: 'completed', counts: expected.counts });
  const items = await desk.items();
  const stored = items.map(({ canonical_id: id, name, text, data }) => [
    id,
    { name, ...(text === '' ? {} : { text }), ...(data as object) },
  ]);
  expect(new Map(stored as [string, unknown][])).toEqual(expected.items);
  const events = await desk.events();
  expect(events.toSorted()).toEqual(expected.events.toSorted());
  // Where one id is written several times, each has an event.
  expect(events).toHaveLength(expected.counts['created']! + expected.counts['updated']!);
}

test('an import that is killed again and again comes to the same rows and the same events, none of them twice', async () => {
  const rows = manyRows(6_000);
  const jobId = await desk.request(gzipSync(ndjson(rows)), { ownerId: 'ann' });
  const runner = randomUUID();
  let kills = 0;
  for (;;) {
    const { processed } = (await desk.status(jobId)).counts;
    const child = runProgram(FIXTURE, { args: [desk.database.url, desk.directory, jobId, runner, '25'] });
    if (kills < 6) {
      // Some way into the file, and then at any moment of a chunk.
      const until = Math.min(rows.length, processed + 100 + Math.random() * 600);
      await eventually(async () => (await desk.status(jobId)).counts.processed >= until, {
        everyMs: 1,
      });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
      child.kill('SIGKILL');
      kills += 1;
    }
    await child.exited;
    if ((await desk.status(jobId)).state === 'completed') break;
    expect((await desk.status(jobId)).state).toBe('running');
  }
  expect(kills).toBeGreaterThan(3);
  await expectOutcome(jobId, model(rows));
  expect(await desk.pushes()).toHaveLength(1);
});

test('whatever the size of chunks, and wherever a run ends, the outcome is that of the rows one by one', async () => {
  const id = fc.integer({ min: 0, max: 12 }).map((n) => `id ${n}`);
  const row = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(id, fc.integer({ min: 0, max: 2 })).map(([i, n]) => native(i, { n })) },
    { weight: 1, arbitrary: fc.constant({ nonsense: true }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
      fc.boolean(),
      async (rows, chunkRows, stops, updateExisting) => {
        await desk.clear();
        const jobId = await desk.request(ndjson([{ nonsense: true }, ...rows]), {
          updateExisting,
          format: 'ndjson',
        });
        const chunk = { rows: chunkRows, bytes: 1_000_000 };
        for (const commits of stops) await desk.run(jobId, { chunk, ...stoppingAfter(commits) });
        await desk.run(jobId, { chunk });
        await expectOutcome(jobId, model([{ nonsense: true }, ...rows], updateExisting));
      },
    ),
    { numRuns: 40 },
  );
});

/** Asks the run to stop once it has committed so often. */
function stoppingAfter(commits: number): Partial<RunOptions> {
  const stop = new AbortController();
  let left = commits;
  const progress = (): void => {
    left -= 1;
    if (left < 0) stop.abort();
  };
  if (commits === 0) stop.abort();
  return { stopping: stop.signal, progress };
}

test.each([
  ['NDJSON', (rows: readonly unknown[]) => ndjson(rows)],
  ['an array', (rows: readonly unknown[]) => JSON.stringify({ items: rows }, undefined, 1)],
  ['an array, packed', (rows: readonly unknown[]) => gzipSync(JSON.stringify(rows))],
  ['CSV, packed', (rows: readonly unknown[]) => gzipSync(csvOf(rows))],
])('a run that is asked to stop commits its chunk and hands over, in the middle of %s', async (_, write) => {
  // More than one block, so that it is stopped while it reads.
  const rows = Array.from({ length: 4_000 }, (_row, n) =>
    n % 7 === 3
      ? { nonsense: n }
      : native(`id ${n}`, { text: `words ${hash('sha512', String(n)).repeat(4)}` }),
  );
  const jobId = await desk.request(write(rows));
  let processed = 0;
  for (let run = 0; run < 4; run += 1) {
    const outcome = await desk.run(jobId, { ...smallChunks, ...stoppingAfter(8) });
    expect(outcome).toBe('handed_over');
    const status = await desk.status(jobId);
    expect(status).toMatchObject({ state: 'queued' });
    expect(status.counts.processed).toBeGreaterThanOrEqual(processed);
    ({ processed } = status.counts);
  }
  expect(processed).toBeGreaterThan(0);
  expect(processed).toBeLessThan(4_000);
  expect(await desk.run(jobId)).toBe('completed');
  await expectOutcome(jobId, model(rows));
});

/** Rows that are none have no id there. */
function csvOf(rows: readonly unknown[]): string {
  const lines = (rows as { canonical_id?: string; item?: { name: string; text: string } }[]).map(
    ({ canonical_id: id = '', item }) => `${id},${item?.name ?? ''},"${item?.text ?? ''}"`,
  );
  return ['canonical_id,name,text', ...lines].join('\n');
}

test('a paused import stays where it is, and goes on behind it', async () => {
  const { pool } = desk.database;
  const rows = manyRows(2_000);
  const jobId = await desk.request(ndjson(rows));
  const running = desk.run(jobId, smallChunks);
  await eventually(async () => (await desk.status(jobId)).counts.processed > 0, { everyMs: 1 });
  expect(await pauseImport(pool, jobId)).toEqual({ done: true, state: 'running', pending: true });
  expect(await running).toBe('paused');
  const paused = await desk.status(jobId);
  expect(paused).toMatchObject({ state: 'paused', wanted: null });
  expect(paused.counts.processed).toBeLessThan(2_000);
  expect(await desk.run(jobId)).toBe('nothing');
  expect(await pauseImport(pool, jobId)).toEqual({ done: false, reason: 'state', state: 'paused' });
  expect(await resumeImport(pool, jobId)).toEqual({ done: true, state: 'queued', pending: false });
  const { rows: events } = await pool.query(
    `select payload from outbox.event where topic = 'import.requested'`,
  );
  expect(events).toEqual([{ payload: { job_id: jobId } }, { payload: { job_id: jobId } }]);
  expect(await desk.run(jobId)).toBe('completed');
  await expectOutcome(jobId, model(rows));
});

test('a pause that is taken back in time is none', async () => {
  const { pool } = desk.database;
  const rows = manyRows(2_000);
  const jobId = await desk.request(ndjson(rows));
  const running = desk.run(jobId, smallChunks);
  await eventually(async () => (await desk.status(jobId)).counts.processed > 0, { everyMs: 1 });
  await pauseImport(pool, jobId);
  await resumeImport(pool, jobId);
  // It had not noticed, or it hands over to the next run; it has not stopped for good.
  if ((await running) !== 'completed') expect(await desk.run(jobId)).toBe('completed');
  await expectOutcome(jobId, model(rows));
});

test('a cancelled import keeps what it has, is over, and can be retried from the beginning', async () => {
  const { pool } = desk.database;
  const rows = manyRows(2_000);
  const jobId = await desk.request(ndjson(rows), { ownerId: 'ann' });
  const running = desk.run(jobId, smallChunks);
  await eventually(async () => (await desk.status(jobId)).counts.processed > 0, { everyMs: 1 });
  await cancelImport(pool, jobId);
  expect(await pauseImport(pool, jobId)).toMatchObject({ done: false });
  expect(await running).toBe('cancelled');
  const { counts } = await desk.status(jobId);
  expect(await desk.items()).toHaveLength(counts.created);
  expect(await desk.run(jobId)).toBe('nothing');
  expect(await resumeImport(pool, jobId)).toEqual({ done: false, reason: 'state', state: 'cancelled' });
  expect(await desk.pushes()).toEqual([]);
  expect(await retryImport(pool, jobId)).toEqual({ done: true, state: 'queued', pending: false });
  expect((await desk.status(jobId)).counts.processed).toBe(0);
  expect(await desk.run(jobId)).toBe('completed');
  expect((await desk.status(jobId)).counts).toMatchObject({ processed: 2_000 });
  expect(await desk.items()).toHaveLength(model(rows).items.size);
  expect(await desk.pushes()).toHaveLength(1);
});

test('what waits is paused and cancelled at once', async () => {
  const { pool } = desk.database;
  const jobId = await desk.request(ndjson(manyRows(10)));
  expect(await pauseImport(pool, jobId)).toEqual({ done: true, state: 'paused', pending: false });
  expect(await cancelImport(pool, jobId)).toEqual({ done: true, state: 'cancelled', pending: false });
  expect(await cancelImport(pool, jobId)).toEqual({ done: false, reason: 'state', state: 'cancelled' });
  expect(await cancelImport(pool, randomUUID())).toEqual({ done: false, reason: 'unknown' });
  expect(await retryImport(pool, 'nonsense')).toEqual({ done: false, reason: 'unknown' });
  expect(await desk.run(jobId)).toBe('nothing');
});

test('a worker that was thought dead and comes back writes nothing', async () => {
  const { pool } = desk.database;
  const rows = manyRows(600);
  const jobId = await desk.request(ndjson(rows));
  const runner = randomUUID();
  // The zombie stands before its chunk: what it writes waits for a lock that is not given back until it was replaced.
  const blocker = await pool.connect();
  await blocker.query('begin');
  await blocker.query('lock table app.items in share mode');
  const zombie = desk.run(jobId, { runner, ...smallChunks });
  await eventually(async () => {
    const { rows: waiting } = await pool.query(
      `select from pg_locks where not granted and relation = 'app.items'::regclass`,
    );
    return waiting.length > 0;
  });
  // pg-boss has given the same job to another worker. It cannot write either, yet: it begins, and that is enough.
  const successor = desk.run(jobId, { runner, chunk: { rows: 100, bytes: 1_000_000 } });
  await eventually(async () => {
    const { rows: found } = await pool.query('select from app.import_jobs where run = 2');
    return found.length > 0;
  });
  await blocker.query('commit');
  blocker.release();
  expect(await zombie).toBe('fenced');
  expect(await successor).toBe('completed');
  await expectOutcome(jobId, model(rows));
});

/** What is written of a chunk of one row, which became an item. */
function oneCreated(processedBefore: number): Parameters<typeof recordChunk>[2] {
  return {
    added: { processed: 1, created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
    processedBefore,
    faults: [],
    prefix: { bytesRead: 10, hash: Buffer.alloc(32) },
    rowsPerSecond: 1,
    secondsLeft: 1,
  };
}

test('a chunk that was counted already is not counted again, by its own run neither', async () => {
  const { pool } = desk.database;
  const jobId = await desk.request(ndjson([native('a'), native('b')]));
  const run = await beginRun(pool, jobId, randomUUID());
  if (run === undefined) throw new Error('there is nothing to run');
  await recordChunk(pool, run, oneCreated(0));
  // As one that never heard that its first attempt was committed.
  await expect(recordChunk(pool, run, oneCreated(0))).rejects.toMatchObject({ code: 'IMPORTS_FENCED' });
  expect((await desk.status(jobId)).counts).toMatchObject({ processed: 1, created: 1 });
  await recordChunk(pool, run, oneCreated(1));
  expect((await desk.status(jobId)).counts).toMatchObject({ processed: 2, created: 2 });
});

test('an import that another worker runs is left to it, and is taken up when nothing is heard of it', async () => {
  const { pool } = desk.database;
  const rows = manyRows(100);
  const jobId = await desk.request(ndjson(rows));
  await pool.query(
    `update app.import_jobs set state = 'running', run = 1, runner = gen_random_uuid() where job_id = $1`,
    [jobId],
  );
  expect(await desk.run(jobId)).toBe('nothing');
  await pool.query(`update app.import_jobs set beat_at = now() - interval '31 seconds'`);
  expect(await desk.run(jobId)).toBe('completed');
  await expectOutcome(jobId, model(rows));
});

test.each([
  ['is longer', async (path: string) => appendFile(path, ndjson([native('new')]))],
  ['was touched', async (path: string) => utimes(path, new Date(), new Date(Date.now() - 60_000))],
])('a file that %s when its import goes on is noticed; a retry takes it as it is now', async (_, change) => {
  const rows = manyRows(500);
  const filePath = `${randomUUID()}.ndjson`;
  const jobId = await desk.request(ndjson(rows), { filePath });
  await desk.run(jobId, { ...smallChunks, ...stoppingAfter(2) });
  await change(join(desk.directory, filePath));
  expect(await desk.run(jobId)).toBe('failed');
  expect((await desk.status(jobId)).reason).toContain('IMPORTS_FILE_CHANGED');
  await retryImport(desk.database.pool, jobId);
  expect(await desk.run(jobId)).toBe('completed');
  expect((await desk.status(jobId)).counts.processed).toBeGreaterThanOrEqual(500);
});

test('a file that has other bytes where it was read, and the same size and time, is noticed', async () => {
  const text = ndjson(manyRows(500));
  const filePath = `${randomUUID()}.ndjson`;
  const jobId = await desk.request(text, { filePath });
  await desk.run(jobId, { ...smallChunks, ...stoppingAfter(2) });
  const path = join(desk.directory, filePath);
  const { rows } = await desk.database.pool.query<{ file_modified_at: Date }>(
    'select file_modified_at from app.import_jobs where job_id = $1',
    [jobId],
  );
  await writeFile(path, text.replace('Item', 'Idem'));
  const modifiedAt = rows[0]?.file_modified_at ?? new Date();
  await utimes(path, modifiedAt, modifiedAt);
  expect(await desk.run(jobId)).toBe('failed');
  expect((await desk.status(jobId)).reason).toContain('which were read, are others now');
});

test('a file that is written while it is read is noticed', async () => {
  const filePath = `${randomUUID()}.ndjson`;
  const jobId = await desk.request(ndjson(manyRows(300)), { filePath });
  let written = false;
  const outcome = await desk.run(jobId, {
    ...smallChunks,
    progress: () => {
      if (written) return;
      written = true;
      void appendFile(join(desk.directory, filePath), ndjson([native('late')]));
    },
  });
  expect(outcome).toBe('failed');
  expect((await desk.status(jobId)).reason).toContain('IMPORTS_FILE_CHANGED');
});

test('runs that end again and again without a chunk end the import, with the reason', async () => {
  const jobId = await desk.request(ndjson(manyRows(10)));
  const runner = randomUUID();
  const { pool } = desk.database;
  await pool.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '53100', message = 'disk full'; end $$`,
  );
  await pool.query('create trigger refuse before insert on app.items execute function refuse()');
  try {
    for (let attempt = 1; attempt < 10; attempt += 1)
      await expect(desk.run(jobId, { runner })).rejects.toThrow('disk full');
    expect(await desk.run(jobId, { runner })).toBe('failed');
  } finally {
    await pool.query('drop function refuse cascade');
  }
  expect((await desk.status(jobId)).reason).toMatch(/10 runs in a row.*disk full.*IMPORTS_ENDED_REPEATEDLY/);
  await retryImport(pool, jobId);
  expect(await desk.run(jobId)).toBe('completed');
});

test('a run that has committed a chunk forgives those before it that had not', async () => {
  const { pool } = desk.database;
  const jobId = await desk.request(ndjson(manyRows(10)));
  const runner = randomUUID();
  await beginRun(pool, jobId, runner);
  const second = await beginRun(pool, jobId, runner);
  expect(second?.attempts).toBe(2);
  if (second !== undefined) await recordChunk(pool, second, oneCreated(0));
  expect((await beginRun(pool, jobId, runner))?.attempts).toBe(1);
});

test('two imports of the same items at once wait for each other and both end', async () => {
  const rows = Array.from({ length: 2_000 }, (_, n) => native(`id ${n}`, { n }));
  const ids = await Promise.all([
    desk.request(ndjson(rows)),
    desk.request(ndjson(rows.toReversed())),
    desk.request(ndjson(rows.map((_, n) => native(`id ${n}`, { name: 'other', n })))),
  ]);
  const outcomes = await Promise.all(
    ids.map(async (jobId) => desk.run(jobId, { chunk: { rows: 300, bytes: 1_000_000 } })),
  );
  expect(outcomes).toEqual(['completed', 'completed', 'completed']);
  expect(await desk.items()).toHaveLength(2_000);
});

// Imports as an operator makes them: `pulsebox import` beside a worker, each a process of its own.

import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase, eventually, freePort, runProgram } from '@pulsebox/test-support';
import type { Program, TestDatabase } from '@pulsebox/test-support';
import { createSearch, shippedProjections } from '@pulsebox/search';
import { beforeEach, expect, inject, onTestFinished, test } from 'vitest';

const CLI = 'packages/cli/src/main.ts';

let db: TestDatabase;
let directory: string;
/** Where the operator has files; not where the workers look. */
let desk: string;

beforeEach(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  directory = await mkdtemp(join(tmpdir(), 'pulsebox-storage-'));
  desk = await mkdtemp(join(tmpdir(), 'pulsebox-desk-'));
  onTestFinished(async () => {
    await db.drop();
    await Promise.all([directory, desk].map(async (path) => rm(path, { recursive: true })));
  });
});

interface Worker {
  readonly program: Program;
  readonly origin: string;
}

async function startWorker(env: Readonly<Record<string, string>> = {}): Promise<Worker> {
  const port = await freePort();
  const program = runProgram('apps/worker/src/index.ts', {
    args: ['--loop'],
    env: {
      DATABASE_URL: db.url,
      WORKER_HEALTH_PORT: String(port),
      OUTBOX_LEASE_SECONDS: '2',
      FILE_STORAGE_PATH: directory,
      IMPORT_CHUNK_ROWS: '100',
      // A machine that is busy with other tests may halt a process for seconds; an import must not.
      WORKER_HEALTH_STALENESS_MULTIPLIER: '10',
      ...env,
    },
  });
  const origin = `http://127.0.0.1:${port}`;
  await eventually(async () => (await statusOf(`${origin}/health/ready`)) === 200);
  return { program, origin };
}

async function statusOf(url: string): Promise<number> {
  return await fetch(url).then(
    ({ status }) => status,
    () => 0,
  );
}

function pulsebox(...args: readonly string[]): Program {
  return runProgram(CLI, { args, env: { DATABASE_URL: db.url, FILE_STORAGE_PATH: directory } });
}

async function ranTo(program: Program): Promise<{ readonly code: number | null; readonly output: string }> {
  const { code } = await program.exited;
  return { code, output: program.output() };
}

async function fileOf(rows: number, name = 'items.ndjson'): Promise<string> {
  const lines = Array.from(
    { length: rows },
    (_, n) =>
      `{"canonical_id":"n-${n}","item":{"name":"Import number ${n}","text":"porcelain ${'word '.repeat(20)}"}}\n`,
  );
  const path = join(desk, name);
  await writeFile(path, lines.join(''));
  return path;
}

async function jobs(): Promise<
  readonly { readonly job_id: string; readonly state: string; readonly processed: number }[]
> {
  const { rows } = await db.pool.query<{ job_id: string; state: string; processed: number }>(
    'select job_id, state, processed::int from app.import_jobs order by created_at',
  );
  return rows;
}

async function eventsOfItems(): Promise<number> {
  const { rows } = await db.pool.query<{ n: number }>(
    `select count(*)::int as n from outbox.event where topic = 'item.upserted' and created_at > (select min(created_at) from app.import_jobs)`,
  );
  return rows[0]?.n ?? 0;
}

test('a file is handed over, imported, indexed and taken away again, and the worker is well all the while', async () => {
  const { program, origin } = await startWorker();
  const answers: number[] = [];
  const path = await fileOf(8_000);
  const importing = pulsebox('import', path, '--org', 'acme', '--json');
  const over = importing.exited.then(() => true);
  while (!(await Promise.race([over, new Promise<false>((resolve) => setTimeout(resolve, 50, false))])))
    answers.push(await statusOf(`${origin}/health`));
  const { code, output } = await ranTo(importing);
  expect(code, output).toBe(0);
  const status = JSON.parse(output.slice(output.indexOf('{\n'))) as { state: string; counts: unknown };
  expect(status).toMatchObject({
    state: 'completed',
    counts: { processed: 8_000, created: 8_000, failed: 0 },
  });
  expect(new Set(answers)).toEqual(new Set([200]));
  const search = createSearch({ pool: db.pool, projections: shippedProjections() });
  await eventually(async () => (await search.search('items', { query: 'porcelain' })).total === 8_000);
  expect(await readdir(join(directory, 'imports'))).toEqual([]);
  const metrics = await (await fetch(`${origin}/metrics`)).text();
  expect(metrics).toMatch(/imports_rows_total\{[^}]*outcome="created"[^}]*\} 8000/);
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
});

test('an operator pauses, resumes and cancels; without a worker everything waits', async () => {
  const path = await fileOf(50);
  const requested = await ranTo(pulsebox('import', path, '--org', 'acme', '--no-wait'));
  expect(requested.code).toBe(0);
  const [job] = await jobs();
  const id = job?.job_id ?? '';
  expect(requested.output.trim()).toBe(id);
  expect(await ranTo(pulsebox('import', 'pause', id))).toEqual({ code: 0, output: `${id} is paused\n` });
  expect((await ranTo(pulsebox('import', 'status'))).output).toMatch(/acme +paused +0/);
  const { program } = await startWorker();
  expect(await ranTo(pulsebox('import', 'resume', id))).toMatchObject({ code: 0 });
  const followed = await ranTo(pulsebox('import', 'status', id, '--follow'));
  expect(followed).toMatchObject({ code: 0 });
  expect(followed.output).toMatch(/completed, 50 rows in .*\n {2}50 created/);
  const again = await ranTo(pulsebox('import', 'cancel', id));
  expect(again).toMatchObject({ code: 2 });
  expect(again.output).toContain('expected an import that has not ended, got one that is completed');
  program.kill('SIGTERM');
  await program.exited;
});

test('a worker that stops hands its import over; one that is killed is followed by another, and no row comes twice', async () => {
  const rows = 30_000;
  const path = await fileOf(rows);
  const first = await startWorker({ IMPORT_CHUNK_ROWS: '20' });
  expect((await ranTo(pulsebox('import', path, '--org', 'acme', '--no-wait'))).code).toBe(0);
  const beyond = async (count: number): Promise<boolean> => ((await jobs())[0]?.processed ?? 0) > count;
  await eventually(async () => beyond(200), { everyMs: 5 });
  first.program.kill('SIGTERM');
  expect(await first.program.exited).toEqual({ code: 0, signal: null });
  const [handedOver] = await jobs();
  expect(handedOver).toMatchObject({ state: 'queued' });
  const second = await startWorker({ IMPORT_CHUNK_ROWS: '20' });
  await eventually(async () => beyond((handedOver?.processed ?? 0) + 200), { everyMs: 5 });
  second.program.kill('SIGKILL');
  await second.program.exited;
  expect(await jobs()).toMatchObject([{ state: 'running' }]);
  await startWorker();
  // Whoever is dead is found by his silence.
  await eventually(async () => (await jobs())[0]?.state === 'completed', { withinMs: 180_000, everyMs: 200 });
  expect(await jobs()).toMatchObject([{ processed: rows }]);
  expect(await eventsOfItems()).toBe(rows);
}, 600_000);

test('faults of rows and of files end the command with 1, and say what they are', async () => {
  const { program } = await startWorker();
  const path = join(desk, 'some.csv');
  await writeFile(path, 'ID;Title\n1;one\n;nobody\n3;three\n');
  const mapped = await ranTo(
    pulsebox('import', path, '--org', 'acme', '--map', 'canonical_id=ID', '--map', 'name=Title'),
  );
  expect(mapped.code).toBe(1);
  expect(mapped.output).toMatch(/2 created\n {2}1 failed\n {2}line 3: expected canonical_id/);
  const unmapped = await ranTo(pulsebox('import', path, '--org', 'acme'));
  expect(unmapped.code).toBe(1);
  expect(unmapped.output).toContain('IMPORTS_MAPPING_INVALID');
  // A file that is the application's own stays where it is.
  await writeFile(join(directory, 'own.json'), '[{"canonical_id": "own", "item": {"name": "n"}}]');
  expect(await ranTo(pulsebox('import', join(directory, 'own.json'), '--org', 'acme'))).toMatchObject({
    code: 0,
  });
  expect(await readdir(directory)).toContain('own.json');
  program.kill('SIGTERM');
  await program.exited;
});

// pulsebox import without a worker: what it hands over, what it refuses, what it shows.

import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase, eventually, runProgram } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { followImport } from '../src/import-progress.ts';
import type { Terminal } from '../src/terminal.ts';
import { MAIN, pulsebox } from './pulsebox.ts';
import type { Ran, RunOptions } from './pulsebox.ts';

let database: TestDatabase;
let base: string;
let storage: string;
let file: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  base = await mkdtemp(join(tmpdir(), 'pulsebox-cli-import-'));
  storage = join(base, 'storage');
  await mkdir(join(storage, 'uploads'), { recursive: true });
  file = join(base, 'some items.ndjson');
  await writeFile(file, '{"canonical_id": 1, "item": {"name": "n"}}\n');
});
afterAll(async () => {
  await database.drop();
  await rm(base, { recursive: true });
});
beforeEach(async () => {
  await database.pool.query('truncate app.import_jobs cascade');
  await rm(join(storage, 'imports'), { recursive: true, force: true });
});

async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return await pulsebox(['import', ...args], {
    ...options,
    env: { DATABASE_URL: database.url, FILE_STORAGE_PATH: storage, ...options.env },
  });
}

async function jobs(): Promise<readonly Record<string, unknown>[]> {
  const { rows } = await database.pool.query<Record<string, unknown>>(
    `select job_id, org_id, owner_id, file_path, delete_file, format, mapping, update_existing, include_completed,
            dry_run, emit_events, state from app.import_jobs order by created_at`,
  );
  return rows;
}

describe('a file', () => {
  test('is copied below the storage and requested, with all that the flags say', async () => {
    const flags = [
      '--org',
      'acme',
      '--user',
      'anna',
      '--no-update-existing',
      '--include-completed',
      '--dry-run',
    ];
    const csv = ['--format', 'csv', '--map', 'canonical_id=ID', '--map', 'name=A=B', '--delimiter', '\\t'];
    const ran = await run([file, ...flags, ...csv, '--no-events', '--no-wait', '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const [job] = await jobs();
    expect(job).toMatchObject({
      job_id: ran.json<{ jobId: string }>().jobId,
      org_id: 'acme',
      owner_id: 'anna',
      delete_file: true,
      format: 'csv',
      mapping: { columns: { canonical_id: 'ID', name: 'A=B' }, delimiter: '\t' },
      update_existing: false,
      include_completed: true,
      dry_run: true,
      emit_events: false,
      state: 'queued',
    });
    const path = String(job?.['file_path']);
    expect(path).toMatch(/^imports\/[\da-f-]{36}-some_items\.ndjson$/);
    expect(await readFile(join(storage, path))).toEqual(await readFile(file));
    const { rows } = await database.pool.query(
      `select topic, key, payload from outbox.event order by seq desc limit 1`,
    );
    expect(rows).toEqual([
      {
        topic: 'import.requested',
        key: `import:${String(job?.['job_id'])}`,
        payload: { job_id: job?.['job_id'] },
      },
    ]);
  });

  test('that lies below the storage stays where it is, also behind a link to it', async () => {
    await writeFile(join(storage, 'uploads', 'own.json'), '[]');
    await symlink(storage, join(base, 'mount'));
    await run([join(base, 'mount', 'uploads', 'own.json'), '--org', 'acme', '--no-wait']);
    await run(['uploads/own.json', '--org', 'acme', '--no-wait'], { cwd: storage });
    expect(await jobs()).toMatchObject([
      { file_path: 'uploads/own.json', delete_file: false, update_existing: true, emit_events: true },
      { file_path: 'uploads/own.json', delete_file: false },
    ]);
    expect(await readdir(storage)).not.toContain('imports');
  });

  test('may come by standard input', async () => {
    const input = '{"canonical_id": 2, "item": {"name": "n"}}\n'.repeat(10_000);
    expect(await run(['-', '--org', 'acme', '--no-wait'], { input })).toMatchObject({ code: 0 });
    const [job] = await jobs();
    expect(await readFile(join(storage, String(job?.['file_path'])), 'utf8')).toBe(input);
  });
});

describe('what cannot be is refused, and nothing is left behind', () => {
  test.each<[what: string, args: readonly string[], env: Record<string, string>, expected: string]>([
    ['no organisation', ['FILE'], {}, 'expected --org'],
    ['an empty organisation', ['FILE', '--org', ' '], {}, 'IMPORTS_REQUEST_INVALID'],
    ['a file that is not there', ['nothing', '--org', 'a'], {}, 'CLI_FILE_UNREADABLE'],
    ['a directory', ['.', '--org', 'a'], {}, 'CLI_FILE_UNREADABLE'],
    ['a mapping that is none', ['FILE', '--org', 'a', '--map', 'name'], {}, 'expected --map to be a field'],
    ['a long delimiter', ['FILE', '--org', 'a', '--delimiter', ';;'], {}, 'IMPORTS_MAPPING_INVALID'],
    ['an unknown format', ['FILE', '--org', 'a', '--format', 'xml'], {}, 'xml'],
    ['no storage', ['FILE', '--org', 'a'], { FILE_STORAGE_PATH: '' }, 'kubectl exec'],
    [
      'a storage that is not there',
      ['FILE', '--org', 'a'],
      { FILE_STORAGE_PATH: '/nowhere' },
      'CLI_FILE_STORAGE',
    ],
  ])('%s', async (_, args, env, expected) => {
    const ran = await run([...args.map((arg) => (arg === 'FILE' ? file : arg)), '--json'], { env });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(expected);
    expect(await jobs()).toEqual([]);
    expect(await readdir(join(storage, 'imports')).catch(() => [])).toEqual([]);
  });

  test('an import that is not there, or is in another state', async () => {
    const verbs = ['pause', 'resume', 'cancel', 'retry', 'status'];
    for (const ran of await Promise.all(verbs.map(async (verb) => run([verb, 'nonsense']))))
      expect(ran).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('expected the id of an import, got "nonsense"') as string,
      });
    await run([file, '--org', 'acme', '--no-wait']);
    const id = String((await jobs())[0]?.['job_id']);
    expect(await run(['retry', id])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('has failed or was cancelled, got one that is queued') as string,
    });
    expect(await run(['status', '--follow'])).toMatchObject({ code: 2 });
  });
});

test('Ctrl-C ends the watching and not the import', async () => {
  const ran = runProgram(MAIN, {
    args: ['import', file, '--org', 'acme'],
    env: { DATABASE_URL: database.url, FILE_STORAGE_PATH: storage },
  });
  await ran.says('queued');
  ran.kill('SIGINT');
  expect(await ran.exited).toEqual({ code: 130, signal: null });
  expect(ran.output()).toContain('the import goes on');
  expect(await jobs()).toMatchObject([{ state: 'queued' }]);
});

test('a failed import is shown with its reason, and the faults of rows with their lines', async () => {
  await run([file, '--org', 'acme', '--no-wait']);
  const id = String((await jobs())[0]?.['job_id']);
  await database.pool.query(
    `update app.import_jobs set state = 'failed', reason = 'expected a whole file \u001B[31m', started_at = now() - interval '5 s',
       ended_at = now(), processed = 1500, created = 1200, failed = 300 where job_id = $1`,
    [id],
  );
  await database.pool.query(
    `insert into app.import_faults select $1, n, n * 2, 'expected a name' from generate_series(1, 100) n`,
    [id],
  );
  const ran = await run(['status', id]);
  expect(ran.code).toBe(1);
  expect(ran.stdout).toContain(
    'failed, 1,500 rows in 5 s\n  expected a whole file  [31m\n  1,200 created\n  300 failed\n  line 2: expected a name\n',
  );
  expect(ran.stdout).toContain('and 200 more');
  const json = await run(['status', id, '--json']);
  expect(json.json()).toMatchObject({
    jobId: id,
    state: 'failed',
    counts: { processed: 1_500 },
    faults: { length: 100 },
  });
  expect((await run(['status'])).stdout).toMatch(/acme +failed +1,500 +300/);
  expect(await run(['status', '--json'])).toMatchObject({ code: 0 });
});

test('where somebody watches, a bar shows rows, bytes, speed and the time that is left', async () => {
  await run([file, '--org', 'acme', '--no-wait']);
  const id = String((await jobs())[0]?.['job_id']);
  const drawn: string[] = [];
  const terminal: Terminal = {
    json: false,
    watched: true,
    result: () => undefined,
    remark: () => undefined,
    redraw: (text) => void drawn.push(text),
    fault: () => undefined,
    style: (_, text) => text,
  };
  const { signal } = new AbortController();
  const following = followImport({ pool: database.pool, jobId: id, terminal, signal });
  await eventually(() => drawn.some((line) => line.includes('waiting for a worker')));
  await database.pool.query(
    `update app.import_jobs set state = 'running', processed = 2000, created = 1990, failed = 10, bytes_read = 500000,
       file_bytes = 2000000, rows_per_second = 1234, seconds_left = 90, wanted = 'pause' where job_id = $1`,
    [id],
  );
  await eventually(() => drawn.some((line) => line.includes('2,000 rows')));
  expect(drawn.find((line) => line.includes('2,000 rows'))).toBe(
    `${'█'.repeat(6)}${'░'.repeat(18)} pause asked for, 2,000 rows, 10 failed, 488 kB of 1.9 MB, 1,234/s, 90 s left`,
  );
  await database.pool.query(`update app.import_jobs set state = 'paused', wanted = null where job_id = $1`, [
    id,
  ]);
  expect(await following).toMatchObject({ state: 'paused' });
  expect(drawn.at(-1)).toBe('');
});

// An operator's first hour: an empty database, pulsebox, and one real worker.

import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, eventually, freePort, runProgram } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { pulsebox } from '../../packages/cli/test/pulsebox.ts';

let db: TestDatabase;

beforeEach(async () => {
  db = await createTestDatabase(inject('serverUrl'), { migrated: false });
  onTestFinished(() => db.drop());
});

test('from an empty database to a search hit, with nothing but pulsebox and a worker', async () => {
  const port = String(await freePort());
  const env = { DATABASE_URL: db.url, WORKER_HEALTH_PORT: port, OUTBOX_LEASE_SECONDS: '2' };
  const run = async (...args: string[]): ReturnType<typeof pulsebox> => await pulsebox(args, { env });

  expect((await run('doctor')).code).toBe(1);
  expect((await run('migrate')).code).toBe(0);

  const worker = runProgram('apps/worker/src/index.ts', { args: ['--loop'], env });
  await eventually(
    async () =>
      (await run('status', '--json')).json<{ workers: { status: string }[] }>().workers[0]?.status === 'ok',
  );

  const { rows } = await db.pool.query<{ item_id: string }>(
    `insert into app.items (org_id, canonical_id, name) values ('acme', '1', 'Copper kettle') returning item_id`,
  );
  const emitted = await run(
    'emit',
    'item.upserted',
    JSON.stringify({ item_id: rows[0]?.item_id }),
    '--key',
    `item:${rows[0]?.item_id}`,
  );
  expect(emitted.stdout).toMatch(/at position 1\n$/);

  await eventually(async () => (await run('search', 'kett', '--json')).json<{ total: number }>().total === 1);
  await eventually(async () => {
    const [search] = (await run('groups', '--json')).json<
      { group: string; lag: number; holder: string | null; delivered: number }[]
    >();
    return search?.group === 'search' && search.lag === 0 && search.delivered === 1 && search.holder !== null;
  });

  const diagnosis = await run('doctor', '--json');
  expect(
    diagnosis.json<{ checks: { status: string }[] }>().checks.filter(({ status }) => status === 'fail'),
  ).toEqual([]);
  expect(diagnosis.code).toBe(0);

  // The worker hands its lane over for the swap, and goes on.
  await db.pool.query(`update app.items set name = 'Copper pan'`);
  const rebuilt = await run('reindex', 'items', '--json');
  expect(rebuilt).toMatchObject({ code: 0 });
  expect(rebuilt.json()).toEqual([expect.objectContaining({ projection: 'items', rows: 1 })]);
  expect((await run('search', 'pan', '--json')).json<{ total: number }>().total).toBe(1);

  worker.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect((await run('status')).stdout).toMatch(/Workers\n {2}worker off /);
  const stopped = await run('doctor');
  expect(stopped.code).toBe(1);
  expect(stopped.stdout).toContain('worker does not answer');
});

describe('bin/pulsebox.js', () => {
  const BIN = fileURLToPath(new URL('../../packages/cli/bin/pulsebox.js', import.meta.url));

  async function packageWith(main: string | undefined): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'pulsebox-bin-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, 'package.json'), '{"type": "module"}');
    await mkdir(join(folder, 'bin'));
    await cp(BIN, join(folder, 'bin', 'pulsebox.js'));
    if (main !== undefined) {
      await mkdir(join(folder, 'dist'));
      await writeFile(join(folder, 'dist', 'main.js'), main);
    }
    return join(folder, 'bin', 'pulsebox.js');
  }

  test('says what to do when nothing is built yet', async () => {
    const ran = spawnSync(process.execPath, [await packageWith(undefined)], { encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 2, stdout: '' });
    expect(ran.stderr).toContain('npm run build');
  });

  test('runs what is built', async () => {
    const bin = await packageWith(`console.log(process.argv.slice(2).join(' '))`);
    expect(spawnSync(process.execPath, [bin, 'a', 'b'], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stdout: 'a b\n',
    });
  });

  test('says which Node is needed to one that is too old', async () => {
    const older = `data:text/javascript,Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`;
    const ran = spawnSync(process.execPath, ['--import', older, await packageWith('')], { encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 2, stdout: '' });
    expect(ran.stderr).toContain('expected Node 24 or later, got 20.19.0');
  });
});

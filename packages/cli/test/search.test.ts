import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireLease, releaseLease } from '@pulsebox/postgres';
import { createTestDatabase, runProgram, startMeilisearchStandIn } from '@pulsebox/test-support';
import type { MeilisearchStandIn, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

let database: TestDatabase;
let meilisearch: MeilisearchStandIn;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  meilisearch = await startMeilisearchStandIn({ apiKey: 'good-key' });
  await database.pool.query(
    `insert into app.items (org_id, canonical_id, name) values
       ('acme', '1', 'Zürich airport'), ('acme', '2', 'Zug station'), ('other', '3', 'Zurich main station'),
       ('other', '4', E'Escape \\x1b[31m red')`,
  );
});

afterAll(async () => {
  await meilisearch.close();
  await database.drop();
});

interface Found {
  readonly engine: string;
  readonly total: number;
  readonly tookMs: number;
  readonly hits: readonly { readonly id: string; readonly document: { readonly name: string } }[];
}

const engines = {
  postgres: (): Record<string, string> => ({ DATABASE_URL: database.url }),
  meilisearch: (): Record<string, string> => ({
    DATABASE_URL: database.url,
    MEILI_URL: meilisearch.url,
    MEILI_API_KEY: 'good-key',
  }),
};

describe.each(Object.entries(engines))('with %s', (engine, env) => {
  const run = async (args: readonly string[], more: Record<string, string> = {}): Promise<Ran> =>
    await pulsebox(args, { env: { ...env(), ...more } });

  test('reindex rebuilds an index, step by step, and search finds what is in it', async () => {
    const rebuilt = await run(['reindex', 'items', '--json']);
    expect(rebuilt).toMatchObject({ code: 0, stderr: '' });
    expect(rebuilt.json()).toEqual([
      expect.objectContaining({
        projection: 'items',
        rows: 4,
        events: 0,
        skippedRows: 0,
        oldIndexDropped: true,
      }),
    ]);
    const lines = await run(['reindex', 'items']);
    expect(lines.stderr).toMatch(/^items: filling, 4 rows\n(.+\n)*items: swapping, 4 rows\n/);
    expect(lines.stdout).toMatch(/^rebuilt items in .+: 4 rows, and 0 events written meanwhile, in /);

    const found = (await run(['search', 'zur', '--json'])).json<Found>();
    expect(found).toMatchObject({ projection: 'items', engine, query: 'zur', total: 2 });
    expect(found.tookMs).toBeGreaterThan(0);
    expect(found.hits.map(({ document }) => document.name).toSorted()).toEqual([
      'Zurich main station',
      'Zürich airport',
    ]);
  });

  test('search narrows by organisation and pages', async () => {
    const found = await run(['search', 'zur', '--organisation', 'acme']);
    expect(found.stdout).toMatch(
      /^NAME +ORGANISATION +ID\nZürich airport +acme +[0-9a-f-]{36}\n1 hit in items, /,
    );
    const page = (await run(['search', 'z', '--limit', '1', '--offset', '1', '--json'])).json<Found>();
    expect(page).toMatchObject({ total: 3 });
    expect(page.hits).toHaveLength(1);
    expect((await run(['search', 'z', '--limit', '1', '--offset', '1'])).stdout).toMatch(
      /\n2 to 2 of 3 hits in items/,
    );
  });

  test('search marks the words that were looked for, and shows no escape sequences of others', async () => {
    const found = await run(['search', 'zur'], { FORCE_COLOR: '1' });
    expect(found.stdout).toContain('\u001B[32mZürich\u001B[39m airport');
    const plain = await run(['search', 'escape']);
    expect(plain.stdout).toContain('Escape');
    expect(plain.stdout).not.toContain('\u001B');
  });

  test('search without hits is no error', async () => {
    expect(await run(['search', 'nothing-like-it'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^no hits in items, /) as string,
    });
  });

  test('reindex --all rebuilds every projection', async () => {
    const rebuilt = (await run(['reindex', '--all', '--json'])).json<{ projection: string }[]>();
    expect(rebuilt.map(({ projection }) => projection)).toEqual(['items', 'files', 'mail']);
  });

  test('reindex --notify tells a user once it is done', async () => {
    const rebuilt = await run(['reindex', '--all', '--notify', 'anna']);
    expect(rebuilt).toMatchObject({ code: 0 });
    const { rows } = await database.pool.query<{ key: string; payload: unknown }>(
      `delete from outbox.event where topic = 'push.requested' returning key, payload`,
    );
    expect(rows).toEqual([
      {
        key: 'user:anna',
        payload: {
          user_id: 'anna',
          payload: { title: 'Search index rebuilt: items, files, mail', body: '4 rows', tag: 'reindex' },
        },
      },
    ]);
  });

  test('Ctrl-C leaves the live index as it was', async () => {
    // Another holds the lane: the rebuild is complete and waits for it.
    const lane = { name: 'outbox/search/0', holder: 'a worker', ttlMs: 60_000 };
    const held = await acquireLease(database.pool, lane);
    if (!held.acquired) throw new Error('the lane is held');
    try {
      await database.pool.query(`update app.items set name = 'Berne' where canonical_id = '2'`);
      const rebuild = runProgram('packages/cli/src/main.ts', { args: ['reindex', 'items'], env: env() });
      await rebuild.says('waiting for the lane');
      rebuild.kill('SIGINT');
      expect(await rebuild.exited).toEqual({ code: 130, signal: null });
      expect(rebuild.output()).toContain('interrupted: the live index is as it was');
      expect((await run(['search', 'zug', '--json'])).json<Found>().total).toBe(1);
      expect((await run(['search', 'berne', '--json'])).json<Found>().total).toBe(0);
    } finally {
      await releaseLease(database.pool, { name: lane.name, token: held.token });
      await database.pool.query(`update app.items set name = 'Zug station' where canonical_id = '2'`);
    }
    // Nothing is left behind that would keep the next one from its work.
    expect(await run(['reindex', 'items'])).toMatchObject({ code: 0 });
  });
});

test.each([
  [
    ['search', 'x', '--projection', 'nix'],
    2,
    /there is no projection "nix"\n {2}hint: there are: items, files, mail/,
  ],
  [['reindex', 'nix'], 2, /there is no projection "nix"/],
  [['reindex'], 2, /expected either the name of a projection or --all, got neither/],
  [['reindex', 'items', '--all'], 2, /got both/],
  [['reindex', 'items', '--notify', ''], 2, /expected --notify to name a user/],
  [['search', '   '], 0, /^$/],
])('%j ends with exit code %d', async (args, code, said) => {
  const ran = await pulsebox(args, { env: engines.postgres() });
  expect(ran.stderr).toMatch(said);
  expect(ran.code).toBe(code);
});

test('tells a search engine that is away from one that refuses the key', async () => {
  const away = await pulsebox(['search', 'x'], {
    env: { DATABASE_URL: database.url, MEILI_URL: 'http://127.0.0.1:1' },
  });
  expect(away.code).toBe(3);
  const denied = await pulsebox(['search', 'x'], {
    env: { ...engines.meilisearch(), MEILI_API_KEY: 'bad-key' },
  });
  expect(denied.code).toBe(2);
  expect(away.stderr + denied.stderr).not.toContain('bad-key');
});

test('asks the Meilisearch of a running npm start, unless MEILI_URL names another', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'pulsebox-search-'));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  await mkdir(join(cwd, '.pulsebox'));
  // This process lives, as the supervisor would.
  const run = {
    supervisorPid: process.pid,
    databaseUrl: database.url,
    meiliUrl: meilisearch.url,
    workers: [],
  };
  await writeFile(join(cwd, '.pulsebox', 'run.json'), JSON.stringify(run));
  const found = await pulsebox(['search', 'zur', '--json'], { cwd, env: { MEILI_API_KEY: 'good-key' } });
  expect(found.json<Found>()).toMatchObject({ engine: 'meilisearch' });
  const other = await pulsebox(['search', 'zur'], { cwd, env: { MEILI_URL: 'http://127.0.0.1:1' } });
  expect(other.code).toBe(3);
});

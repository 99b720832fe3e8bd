import { registerGroup } from '@pulsebox/outbox';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { park } from '../../outbox/test/parked-rows.ts';
import { pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  for (const group of ['search', 'push']) await registerGroup(database.pool, group, 'end');
});
beforeEach(async () => {
  await database.pool.query('truncate outbox.parked');
  await park(
    database.pool,
    {
      group: 'search',
      position: 1042,
      key: 'item:42',
      payload: '{"item_id": 12345678901234567890}',
      reasons: ['the first', 'document too large\n  at \u001B[31mindex'],
      failedAgo: 7_200,
    },
    { group: 'search', position: 1043, key: 'item:42', state: 'parked', failedAgo: null },
    { group: 'push', position: 7, topic: 'push.requested' },
    { group: 'push', position: 8, state: 'parked', attempts: 2, dueIn: 60 },
  );
});
afterAll(async () => {
  await database.drop();
});

async function run(...args: readonly string[]): Promise<Ran> {
  return await pulsebox(args, { env: { DATABASE_URL: database.url } });
}

async function dead(...args: readonly string[]): Promise<Ran> {
  return await run('dead', ...args);
}

async function ids(...flags: readonly string[]): Promise<string[]> {
  const page = (await dead('list', '--json', ...flags)).json<{ events: { id: string }[] }>();
  return page.events.map(({ id }) => id);
}

describe('list', () => {
  test('is a table for people: what failed, when, why, and what waits', async () => {
    const { code, stdout, stderr } = await dead('list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [head = '', first = '', second = '', ...rest] = stdout.split('\n');
    expect(head.split(/ {2,}/)).toEqual(['ID', 'TOPIC', 'KEY', 'ATTEMPTS', 'FAILED', 'WAITING', 'REASON']);
    expect(first).toMatch(/^push\/7 +push\.requested +- +5 +2\S+Z +0 +it broke$/);
    expect(second).toMatch(/^search\/1042 +item\.upserted +item:42 +5 +2\S+Z +1 +document too large$/);
    expect(rest).toEqual(['']);
    expect((await dead('list', '--state', 'parked', '--group', 'search')).stdout).toMatch(
      / - +- +0 +waits behind another of its key\n$/,
    );
  });

  test('is an object for machines, page after page', async () => {
    const page = (await dead('list', '--json', '--limit', '1', '--oldest')).json<{
      events: unknown[];
      next: string;
    }>();
    expect(page.events).toMatchObject([{ id: 'search/1042', waiting: 1, reason: 'document too large' }]);
    expect(await ids('--limit', '1', '--oldest', '--cursor', page.next)).toEqual(['push/7']);
    expect((await dead('list', '--limit', '1')).stderr).toContain('there are more; the same command with');
  });

  test('takes every filter', async () => {
    expect(await ids('--group', 'push')).toEqual(['push/7']);
    expect(await ids('--topic', 'push.requested')).toEqual(['push/7']);
    expect(await ids('--key', 'item:42')).toEqual(['search/1042']);
    expect(await ids('--older-than', '2h')).toEqual(['search/1042']);
    expect(await ids('--newer-than', '90m')).toEqual(['push/7']);
    expect(await ids('--id', 'push/7', '--id', 'search/1042', '--oldest')).toEqual(['search/1042', 'push/7']);
    expect(await ids('--state', 'parked', '--group', 'push')).toEqual(['push/8']);
    expect((await dead('list', '--key', 'no')).stdout).toBe('no dead letters\n');
  });

  test.each([
    [['list', '--group', 'nobody'], 'there is no consumer group "nobody"'],
    [['list', '--older-than', 'yesterday'], 'Expected a span of time such as 90s, 30m, 2h, 7d or 2w'],
    [['list', '--older-than', '2h', '--newer-than', '1h'], 'older than 7200 s and newer than 3600 s at once'],
    [['list', '--state', 'lost'], 'dead, parked'],
    [['list', '--id', '1042'], 'its group and position such as "search/1042", got "1042"'],
    [['list', '--limit', '0'], 'Expected a whole number from 1 to 1000'],
    [['list', '--cursor', 'xyz'], 'the "next" of an earlier page'],
    [['show', 'search'], 'such as "search/1042", got "search"'],
    [['replay'], 'expected to be told which events to replay'],
    [['discard', '--yes'], 'expected to be told which events to discard'],
    [['replay', '--all', '--group', 'push'], 'expected either --all or a filter, got both'],
    [['reply', 'search/1'], "unknown command 'reply'"],
  ])('%j is refused with what was expected', async (args, said) => {
    const ran = await dead(...args);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(said);
    expect(ran.stderr).toContain('hint: ');
  });
});

describe('show', () => {
  test('tells all of one event, and lets no escape sequence through', async () => {
    const { code, stdout } = await dead('show', 'search/1042');
    expect(code).toBe(0);
    expect(stdout).toContain('"item_id": 12345678901234567890');
    expect(stdout).toContain('"by": "anna"');
    expect(stdout).toMatch(/waiting +1 event of its key behind it/);
    expect(stdout).toMatch(/attempt 1\n {4}the first\n/);
    expect(stdout).toMatch(/attempt 2\n {4}document too large\n {6}at {2}\[31mindex\n$/);
    expect(stdout).not.toContain('\u001B');
  });

  test('has the payload as JSON in JSON', async () => {
    const { stdout } = await dead('show', 'search/1042', '--json');
    expect(stdout).toContain('"item_id": 12345678901234567890');
    expect(JSON.parse(stdout)).toMatchObject({
      id: 'search/1042',
      headers: { by: 'anna' },
      errors: [{}, {}],
    });
  });

  test('says that there is none', async () => {
    const ran = await dead('show', 'search/1');
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('search/1 is not parked');
  });
});

describe('replay', () => {
  test('of one by its id, and again, which changes nothing', async () => {
    expect(await dead('replay', 'search/1042')).toMatchObject({
      code: 0,
      stdout: 'replayed 1 dead letter of search\n',
    });
    expect(await dead('replay', '--id', 'search/1042')).toMatchObject({
      code: 0,
      stdout: 'no dead letter matches; 1 more is parked and under way\n',
    });
    const missing = await dead('replay', 'search/1');
    expect(missing.code).toBe(1);
    expect(missing.stdout).toContain('not there (delivered or discarded, or never failed): search/1');
  });

  test('of all: a dry run counts what the run then does', async () => {
    const dry = (await dead('replay', '--all', '--dry-run', '--json')).json<object>();
    expect(dry).toEqual({
      dryRun: true,
      replayed: 2,
      underWay: 2,
      missing: [],
      groups: [
        { group: 'push', replayed: 1, underWay: 1 },
        { group: 'search', replayed: 1, underWay: 1 },
      ],
    });
    expect(await dead('replay', '--all')).toMatchObject({
      code: 0,
      stdout: 'replayed 2 dead letters of push (1) and search (1); 2 more are parked and under way\n',
    });
    expect(await ids()).toEqual([]);
  });
});

describe('discard', () => {
  test('of what is named by id asks nobody, and says what it kept', async () => {
    const ran = await dead('discard', 'search/1042', 'push/8');
    expect(ran).toMatchObject({
      code: 0,
      stdout:
        'discarded 1 dead letter of search\nkept 1 whose state is parked: add --state parked to discard those\n',
    });
    expect(await dead('discard', 'push/8', '--state', 'parked')).toMatchObject({
      code: 0,
      stdout: 'discarded 1 parked event of push\n',
    });
    expect(await ids('--state', 'parked')).toEqual(['search/1043']);
  });

  test('of many asks a person, and without one wants to be told --yes', async () => {
    const refused = await dead('discard', '--older-than', '30s');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('add --yes; 2 dead letters of push (1) and search (1) would never be');
    expect(await dead('discard', '--older-than', '30s', '--dry-run')).toMatchObject({
      code: 0,
      stdout: 'would discard 2 dead letters of push (1) and search (1)\n',
    });
    expect(await ids()).toHaveLength(2);
    expect(await dead('discard', '--older-than', '30s', '--yes')).toMatchObject({ code: 0 });
    expect(await ids()).toEqual([]);
    expect(await dead('discard', '--all')).toMatchObject({ code: 0, stdout: 'no dead letter matches\n' });
  });
});

test('groups, status and doctor speak of dead letters, and say what to do', async () => {
  expect((await run('groups', '--json')).json()).toMatchObject([
    { group: 'push', parked: 1, dead: 1 },
    { group: 'search', parked: 1, dead: 1 },
  ]);
  for (const command of ['groups', 'status']) {
    const { stdout } = await run(command);
    expect(stdout).toMatch(/LAG +OLDEST +PARKED +DEAD /);
    expect(stdout).toContain('2 dead letters wait for somebody to look: pulsebox dead list');
  }
  const doctor = await run('doctor', '--json');
  const { checks } = doctor.json<{ checks: { check: string }[] }>();
  expect(checks.filter(({ check }) => check === 'dead-letters')).toMatchObject([
    { status: 'warn', message: expect.stringContaining('group push has 1 dead letter, the oldest for') },
    {
      status: 'warn',
      message: expect.stringContaining('group search has 1 dead letter, the oldest for 2 h; 1 more parked'),
      remedy: expect.stringContaining('pulsebox dead list --group search'),
    },
  ]);
});

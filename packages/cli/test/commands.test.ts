import { spawn } from 'node:child_process';
import { emit, registerGroup } from '@pulsebox/outbox';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { MAIN, pulsebox } from './pulsebox.ts';
import type { Ran, RunOptions } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});

afterAll(async () => {
  await database.drop();
});

async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return await pulsebox(args, { ...options, env: { DATABASE_URL: database.url, ...options.env } });
}

async function lastEvent(): Promise<Record<string, unknown>> {
  const { rows } = await database.pool.query<Record<string, unknown>>(
    `select seq::int, topic, key, payload::text, headers from outbox.event order by seq desc limit 1`,
  );
  return rows[0] ?? {};
}

describe('emit', () => {
  test('stores topic, payload, key and headers, and prints the position', async () => {
    const ran = await run([
      'emit',
      'item.upserted',
      '{"item_id": "1"}',
      '--key',
      'item:1',
      '--header',
      'by=anna',
      '--header',
      'q=a=b',
    ]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const event = await lastEvent();
    expect(event).toMatchObject({
      topic: 'item.upserted',
      key: 'item:1',
      payload: '{"item_id": "1"}',
      headers: { by: 'anna', q: 'a=b' },
    });
    expect(ran.stdout).toBe(`emitted item.upserted for item:1 at position ${String(event['seq'])}\n`);
  });

  test('prints topic, key and position as JSON', async () => {
    const ran = await run(['emit', 'item.upserted', '{}', '--json']);
    expect(ran.json()).toEqual({ topic: 'item.upserted', key: null, position: (await lastEvent())['seq'] });
  });

  test('stores numbers digit for digit, also those that JavaScript cannot hold', async () => {
    await run(['emit', 't', '{"id": 12345678901234567890, "price": 1.10}']);
    expect((await lastEvent())['payload']).toBe('{"id": 12345678901234567890, "price": 1.10}');
  });

  test.each([
    ['{item_id: 1}', 'column 2: expected a name in double quotes, or "}", got "i"'],
    ['{"a": 1,}', 'column 9: expected a name in double quotes, got "}"'],
    ['{"a": [1 2]}', 'column 10: expected "," or "]", got "2"'],
    ['{"a": 1', 'column 8: expected "," or "}", got the end'],
    ['', 'column 1: expected a value, got the end'],
    ['{"a": "x\\u0000"}', 'got the zero character'],
    ['"\\ud800"', 'got half of a surrogate pair'],
  ])('says where %s is no JSON', async (json, said) => {
    const ran = await run(['emit', 'item.upserted', json]);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(said);
    expect(ran.stderr).not.toMatch(/^\s+at /m);
  });

  test.each([
    [['emit', 'bad topic', '{}'], 'expected a topic such as "item.upserted", got "bad topic"'],
    [['emit', 't', '{}', '--key', 'k'.repeat(1_001)], 'expected a key of at most 1000 bytes'],
    [['emit', 't', '{}', '--header', 'novalue'], 'expected --header to be name=value'],
    [['emit', 't', '{}', '--header', 'a=1', '--header', 'a=2'], 'got "a" twice'],
    [['emit', 't'], "missing required argument 'json'"],
  ])('refuses %j with exit code 2', async (args, said) => {
    const ran = await run(args);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(said);
    expect(ran.stderr).toContain('hint: ');
  });

  test('emits each line of standard input in order, in one transaction', async () => {
    const input = `${Array.from({ length: 2_500 }, (_, n) => `{"n": ${n}}`).join('\n')}\n\n{"n": 2500}`;
    const ran = await run(['emit', 'lines', '-', '--key', 'k', '--json'], { input });
    const summary = ran.json<{ events: number; firstPosition: number; lastPosition: number }>();
    expect(summary).toMatchObject({ topic: 'lines', key: 'k', events: 2_501 });
    const { rows } = await database.pool.query(
      `select count(distinct xid)::int as transactions, array_agg((payload->>'n')::int order by seq) as numbers,
              min(seq)::int as "firstPosition", max(seq)::int as "lastPosition"
       from outbox.event where topic = 'lines'`,
    );
    expect(rows[0]).toEqual({
      transactions: 1,
      numbers: Array.from({ length: 2_501 }, (_, n) => n),
      firstPosition: summary.firstPosition,
      lastPosition: summary.lastPosition,
    });
  });

  test('emits nothing when a line is bad, and says which', async () => {
    const input = `${'{"n": 1}\n'.repeat(1_200)}\n{"n": }\n`;
    const ran = await run(['emit', 'half', '-'], { input });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(
      'expected line 1202 of standard input to be JSON; at column 7: expected a value, got "}"',
    );
    const { rows } = await database.pool.query(`select from outbox.event where topic = 'half'`);
    expect(rows).toHaveLength(0);
  });

  test('says so when standard input is empty', async () => {
    const ran = await run(['emit', 't', '-']);
    expect(ran).toMatchObject({ code: 0, stdout: 'emitted nothing: standard input had no lines\n' });
  });
});

describe('groups', () => {
  test('shows position, lag and holder of each lane', async () => {
    await registerGroup(database.pool, 'search', 'end');
    await emit(database.pool, { topic: 'item.upserted', payload: {} }, { autocommit: true });
    const ran = await run(['groups', '--json']);
    expect(ran.json()).toEqual([
      expect.objectContaining({
        group: 'search',
        lane: 0,
        lag: 1,
        holder: null,
        leaseSeconds: null,
        delivered: 0,
      }),
    ]);
    const [group] = ran.json<{ position: number; oldestAgeSeconds: number; storedAt: string }[]>();
    expect(group?.oldestAgeSeconds).toBeGreaterThan(0);
    expect(Date.parse(group?.storedAt ?? '')).not.toBeNaN();

    const table = await run(['groups']);
    expect(table.stdout).toMatch(
      /^GROUP +LANE +POSITION +LAG +OLDEST +PARKED +DEAD +DELIVERED +HOLDER +LEASE +STATE +STORED\nsearch +0 +\d+ +1 /,
    );
    // Neither colours nor lines where no terminal is.
    for (const sign of ['\u001B', '│', '─']) expect(table.stdout).not.toContain(sign);
  });

  test('shows that a lane rests since its sink is away, and why', async () => {
    await database.pool.query(
      `insert into pulsebox.lease (name, token, holder, expires_at)
       values ('outbox/search/0', 7, 'pod/1/a', now() + interval '1 hour');
       insert into outbox.pause (group_name, lane, token, since, next_try_at, code, reason)
       values ('search', 0, 7, '2026-11-21T10:00:00Z', '2026-11-21T10:05:00Z', 'SEARCH_SINK_AWAY', 'no answer')`,
    );
    const paused = {
      since: '2026-11-21T10:00:00.000Z',
      nextTryAt: '2026-11-21T10:05:00.000Z',
      code: 'SEARCH_SINK_AWAY',
      reason: 'no answer',
    };
    expect((await run(['groups', '--json'])).json()).toMatchObject([{ group: 'search', paused }]);
    for (const command of ['groups', 'status']) {
      const { stdout } = await run([command]);
      expect(stdout).toMatch(/search .* pod\/1\/a .* paused /);
      expect(stdout).toContain(
        'search is paused, its sink is away: since 2026-11-21T10:00:00.000Z, next try at 2026-11-21T10:05:00.000Z: no answer (SEARCH_SINK_AWAY)',
      );
    }
    const doctor = await run(['doctor', '--json']);
    expect(doctor.stdout).toContain(
      'group search, lane 0 is paused with 1 event undelivered, its sink is away',
    );
    await database.pool.query(`delete from pulsebox.lease; delete from outbox.pause`);
  });

  test('colours where it is told to, and not where NO_COLOR is set', async () => {
    expect((await run(['groups'], { env: { FORCE_COLOR: '1' } })).stdout).toContain('\u001B[1mGROUP');
    expect((await run(['groups'], { env: { NO_COLOR: '1' } })).stdout).not.toContain('\u001B');
  });
});

describe('status', () => {
  test('shows database, log, groups and workers', async () => {
    const ran = await run(['status', '--json']);
    expect(ran.code).toBe(0);
    const status = ran.json<Record<string, Record<string, unknown>>>();
    expect(status['database']).toMatchObject({
      source: 'DATABASE_URL',
      reachable: true,
      migrationsPending: [],
      fault: null,
    });
    const { rows } = await database.pool.query(
      `select count(*)::int as events, max(seq)::int as "lastPosition" from outbox.event`,
    );
    expect(status['log']).toMatchObject({ ...rows[0], eventsExact: true, oldestPosition: 1, partitions: 3 });
    expect(status['groups']).toHaveLength(1);
    expect(status['workers']).toEqual([]);

    const screen = await run(['status']);
    expect(screen.stdout).toMatch(
      /Database\n {2}127\.0\.0\.1:\d+\/test_\w+, PostgreSQL 18\S*, schema up to date\n/,
    );
    expect(screen.stdout).toMatch(/Log\n {2}[\d,]+ events, last position [\d,]+, kept from 1 /);
  });

  test('shows a worker that is off as off', async () => {
    const ran = await run(['status', '--json'], { env: { WORKER_HEALTH_PORT: '1' } });
    expect(ran.code).toBe(0);
    expect(ran.json<{ workers: unknown[] }>().workers).toEqual([
      expect.objectContaining({ name: 'worker', status: 'off', healthUrl: 'http://127.0.0.1:1/health' }),
    ]);
  });

  test('shows what it can when the database is away, with exit code 3', async () => {
    const env = { DATABASE_URL: 'postgres://a:b@127.0.0.1:1/x', WORKER_HEALTH_PORT: '1' };
    const ran = await pulsebox(['status', '--json'], { env });
    expect(ran.code).toBe(3);
    expect(ran.json()).toMatchObject({
      database: {
        reachable: false,
        fault: expect.stringContaining('127.0.0.1:1/x: nothing listens there') as string,
      },
      log: null,
      groups: null,
      workers: [{ status: 'off' }],
    });
    expect((await pulsebox(['status'], { env })).stdout).toContain('127.0.0.1:1/x, away');
  });
});

describe('the command line', () => {
  test('teaches: commands, examples, environment, exit codes', async () => {
    const { code, stdout } = await pulsebox(['--help']);
    expect(code).toBe(0);
    for (const word of [
      'migrate',
      'emit',
      'status',
      'groups',
      'search',
      'reindex',
      'doctor',
      'DATABASE_URL',
      'MEILI_URL',
      'Exit codes',
    ]) {
      expect(stdout).toContain(word);
    }
  });

  test.each(['migrate', 'emit', 'status', 'groups', 'search', 'reindex', 'doctor'])(
    'shows examples of %s',
    async (command) => {
      const { code, stdout } = await pulsebox(['help', command]);
      expect(code).toBe(0);
      expect(
        stdout.split('Examples:')[1]?.match(new RegExp(`pulsebox ${command}`, 'g'))?.length,
      ).toBeGreaterThanOrEqual(2);
      expect(stdout).toContain('--json');
    },
  );

  test('shows its version', async () => {
    expect(await pulsebox(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    });
  });

  test('shows help and exits 2 without a command', async () => {
    const ran = await pulsebox([]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('Commands:');
  });

  test('ends quietly when nobody reads on', async () => {
    const child = spawn(process.execPath, ['--conditions=source', MAIN, '--help'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('suggests the command that was meant', async () => {
    const ran = await pulsebox(['stauts']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(`pulsebox: unknown command 'stauts'\n  hint: did you mean status?`);
  });

  test.each([
    [['groups', '--colour']],
    [['groups', 'extra']],
    [['search', 'x', '--limit', 'many']],
    [['doctor', '--older-than', '-1']],
  ])('refuses %j with exit code 2', async (args) => {
    const ran = await run(args);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toMatch(/^pulsebox: .+\n {2}hint: /);
  });

  test('tells errors as JSON where JSON is wanted', async () => {
    const ran = await run(['emit', 'bad topic', '{}', '--json']);
    expect(ran.stdout).toBe('');
    expect(JSON.parse(ran.stderr)).toEqual({
      error: {
        code: 'OUTBOX_EVENT_INVALID',
        message: expect.any(String) as string,
        hint: expect.any(String) as string,
      },
    });
  });

  test('lets no escape sequence of a fault through', async () => {
    const ran = await run(['emit', 't', '{}', '--header', 'x\u001B]0;title\u0007\u009B31m\u202E\ny']);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('got "x ]0;title  31m \n  y"');
  });

  test('shows where an error comes from with --verbose only', async () => {
    expect((await run(['emit', 'bad topic', '{}'])).stderr).not.toContain('    at ');
    expect((await run(['emit', 'bad topic', '{}', '--verbose'])).stderr).toContain('    at ');
    expect((await run(['emit', 'bad topic', '{}'], { env: { DEBUG: '1' } })).stderr).toContain('    at ');
  });
});

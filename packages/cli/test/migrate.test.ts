import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { allMigrations } from '../src/schema.ts';
import { pulsebox } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'), { migrated: false });
});

afterAll(async () => {
  await database.drop();
});

interface Named {
  readonly set: string;
  readonly number: number;
  readonly name: string;
}

test('migrates an empty database step by step, and is idempotent', async () => {
  const env = { DATABASE_URL: database.url };

  const before = await pulsebox(['migrate', '--check', '--json'], { env });
  expect(before.code).toBe(1);
  const { applied, pending } = before.json<{ applied: Named[]; pending: Named[] }>();
  expect(applied).toEqual([]);
  expect([...new Set(pending.map(({ set }) => set))]).toEqual(allMigrations.map(({ name }) => name));
  expect((await pulsebox(['migrate', '--check'], { env })).stdout).toContain('pending outbox/0001_log\n');
  const { rows } = await database.pool.query(`select to_regnamespace('outbox') as schema`);
  expect(rows[0]).toEqual({ schema: null });

  // Two at once: each migration is applied once, by one of them.
  const both = await Promise.all([
    pulsebox(['migrate', '--json'], { env }),
    pulsebox(['migrate', '--json'], { env }),
  ]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  const appliedByEither = both.flatMap((ran) => ran.json<{ applied: Named[] }>().applied);
  expect(new Set(appliedByEither.map(({ set, number }) => `${set}/${number}`)).size).toBe(pending.length);
  expect(appliedByEither).toHaveLength(pending.length);

  expect(await pulsebox(['migrate', '--check', '--json'], { env })).toMatchObject({ code: 0 });
  expect((await pulsebox(['migrate'], { env })).stdout).toMatch(/is up to date\n$/);
});

test('stores the NOTIFY channel that the environment names', async () => {
  const env = { DATABASE_URL: database.url, OUTBOX_NOTIFY_CHANNEL: 'my_channel' };
  expect((await pulsebox(['migrate'], { env })).stdout).toContain('the NOTIFY channel is my_channel now');
  const { rows } = await database.pool.query(`select notify_channel from outbox.setting`);
  expect(rows[0]).toEqual({ notify_channel: 'my_channel' });
  expect((await pulsebox(['migrate', '--json'], { env })).json()).toEqual({
    applied: [],
    notifyChannelChanged: false,
  });

  const bad = await pulsebox(['migrate'], { env: { ...env, OUTBOX_NOTIFY_CHANNEL: 'My Channel' } });
  expect(bad.code).toBe(2);
  expect(bad.stderr).toContain('expected a channel such as "outbox_event", got "My Channel"');
});

test('says no to a migration that was edited after it was applied', async () => {
  await database.pool.query(`update pulsebox.migration set checksum = 'x' where set_name = 'app'`);
  const ran = await pulsebox(['migrate', '--check'], { env: { DATABASE_URL: database.url } });
  expect(ran).toMatchObject({ code: 1, stdout: '' });
  expect(ran.stderr).toContain('was edited after it was applied');

  // What can be read is shown all the same.
  const status = await pulsebox(['status', '--json'], { env: { DATABASE_URL: database.url } });
  expect(status.code).toBe(1);
  expect(status.json()).toMatchObject({
    database: { reachable: true, fault: expect.stringContaining('was edited') as string },
    log: { events: 0 },
    groups: [],
  });
});

import { emitAll, registerGroup } from '@pulsebox/outbox';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { park } from '../../outbox/test/parked-rows.ts';
import { pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, 'mirror', 'beginning');
  const events = [1, 2, 3].map((payload) => ({ topic: 't', payload }));
  await emitAll(database.pool, events, { autocommit: true });
});
afterAll(async () => {
  await database.drop();
});

async function run(...args: readonly string[]): Promise<Ran> {
  return await pulsebox(['groups', ...args], { env: { DATABASE_URL: database.url } });
}

async function lag(): Promise<number | undefined> {
  return (await run('--json')).json<{ lag: number }[]>()[0]?.lag;
}

test('seek moves a group, and says from where to where', async () => {
  expect(await lag()).toBe(3);
  const ran = await run('seek', 'mirror', '--position', '2');
  expect(ran).toMatchObject({
    code: 0,
    stdout: 'mirror goes on behind position 2; it was at 0\n',
    stderr: '',
  });
  expect(await lag()).toBe(1);
  expect((await run('seek', 'mirror', '--end', '--json')).json()).toEqual({
    group: 'mirror',
    from: [2],
    position: 3,
  });
  expect(await lag()).toBe(0);
  expect(await run('seek', 'mirror', '--time', '2026-01-01T00:00:00Z')).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('alerts on lag and late deliveries may fire') as string,
  });
  expect(await lag()).toBe(3);
});

test('seek says what it expects', async () => {
  for (const [args, said] of [
    [['mirror'], 'got none'],
    [['mirror', '--end', '--beginning'], 'got end and beginning'],
    [['mirror', '--position', 'far'], 'expected --position to be a whole number, got "far"'],
    [['mirror', '--time', '2026-01-01T00:00:00'], 'a time with its zone'],
    [['mirror', '--position', '99'], 'expected a position from 0 to 3, got 99'],
    [['nobody', '--end'], 'there is no consumer group "nobody"'],
  ] as const) {
    const ran = await run('seek', ...args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(said);
  }
});

test('retire asks a person, and without one wants to be told --yes', async () => {
  const refused = await run('retire', 'mirror');
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('add --yes; 3 events would not be delivered to it');
  await park(
    database.pool,
    { group: 'mirror', position: 1 },
    { group: 'mirror', position: 2, state: 'parked', dueIn: 60 },
  );
  const ran = await run('retire', 'mirror', '--yes');
  expect(ran).toMatchObject({
    code: 0,
    stdout: 'retired mirror; 3 events and 2 parked ones will not be delivered to it\n',
  });
  expect(await lag()).toBeUndefined();
  expect((await run('retire', 'mirror', '--yes')).code).toBe(2);
});

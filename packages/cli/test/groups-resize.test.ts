import { emitAll, registerGroup } from '@pulsebox/outbox';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  await registerGroup(database.pool, 'mirror', 'beginning');
});
afterAll(async () => {
  await database.drop();
});

async function run(...args: readonly string[]): Promise<Ran> {
  return await pulsebox(['groups', ...args], { env: { DATABASE_URL: database.url } });
}

test('resize changes the lanes of a group that has nothing to deliver at once, without a worker', async () => {
  expect(await run('resize', 'mirror', '3')).toMatchObject({
    code: 0,
    stdout: 'mirror has 3 lanes now; it had 1\n',
  });
  expect(await run('resize', 'mirror', '3')).toMatchObject({ stdout: 'mirror has 3 lanes already\n' });
  expect((await run()).stdout).toMatch(/\nmirror +2 of 3 /);
});

test('with something to deliver it is left to the workers, and can be called off', async () => {
  const events = [1, 2, 3].map((payload) => ({ topic: 't', payload }));
  await emitAll(database.pool, events, { autocommit: true });
  await run('seek', 'mirror', '--position', '1');
  // One lane is at the end, the others are behind: the barrier is there.
  await database.pool.query(
    `insert into outbox.cursor (group_name, lane, token, batch, position, snapshot, ceiling)
     select group_name, lane, token, batch + 1, 3, pg_current_snapshot(), pg_current_xact_id()
     from outbox.cursor where group_name = 'mirror' and lane = 0 order by token desc, batch desc limit 1`,
  );
  const pending = await run('resize', 'mirror', '2', '--no-wait', '--json');
  expect(pending.json()).toEqual({ group: 'mirror', from: 3, lanes: 2, outcome: 'pending' });
  expect(pending.stderr).toContain('of 3 lanes at the barrier');
  expect((await run()).stdout).toMatch(/\nmirror +2 of 3, soon 2 /);
  expect(await run('resize', 'mirror', '3')).toMatchObject({
    code: 0,
    stdout: 'mirror keeps its 3 lanes: the change that was under way is called off\n',
  });
});

test('resize says what it expects', async () => {
  for (const [args, said] of [
    [['mirror', '0'], 'expected a number of lanes from 1 to 1024, got "0"'],
    [['mirror', 'many'], 'got "many"'],
    [['mirror', '2000'], 'got "2000"'],
    [['nobody', '2'], 'there is no consumer group "nobody"'],
  ] as const) {
    const ran = await run('resize', ...args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(said);
  }
});

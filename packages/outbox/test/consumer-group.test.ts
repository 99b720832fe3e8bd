import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { registerGroup } from '../src/group/consumer-group.ts';
import type { StartFrom } from '../src/group/consumer-group.ts';
import { resizeGroup } from '../src/group/resize-group.ts';
import { loadCursor } from '../src/lease/store-cursor.ts';
import { emit } from '../src/log/emit.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
  for (const payload of [1, 2, 3]) await emit(database.pool, { topic: 't.e', payload }, { autocommit: true });
});
afterAll(async () => {
  await database.drop();
});

async function positionOf(group: string): Promise<number | undefined> {
  return (await loadCursor(database.pool, { group, lane: 0 }))?.cursor.position;
}

test.each<[StartFrom, number]>([
  ['beginning', 0],
  ['end', 3],
])('a new group that starts at the %s stands at %i', async (startFrom, position) => {
  const group = `new-${startFrom}`;
  expect(await registerGroup(database.pool, group, startFrom)).toBe(1);
  expect(await positionOf(group)).toBe(position);
});

test('one that is there keeps its cursor, whatever it is asked to start from, and says how many lanes it has', async () => {
  await registerGroup(database.pool, 'known', 'beginning');
  await resizeGroup({ pool: database.pool, group: 'known', lanes: 3, holder: 'operator' });
  expect(await registerGroup(database.pool, 'known', 'end')).toBe(3);
  expect(await positionOf('known')).toBe(0);
});

test('many workers that register it at once make it once', async () => {
  const lanes = await Promise.all(
    Array.from({ length: 16 }, () => registerGroup(database.pool, 'crowd', 'beginning')),
  );
  expect(new Set(lanes)).toEqual(new Set([1]));
  const { rows } = await database.pool.query(`select from outbox.cursor where group_name = 'crowd'`);
  expect(rows).toHaveLength(1);
});

test.each(['', 'Search', '1st', 'a_b', 'a/b', 'ünï', 'a'.repeat(64), `a'; drop table outbox.event`])(
  'refuses the name %j',
  async (name) => {
    await expect(registerGroup(database.pool, name, 'beginning')).rejects.toMatchObject({
      code: 'OUTBOX_GROUP_INVALID',
      message: `expected a group name such as "search", got ${JSON.stringify(name)}`,
    });
  },
);

// The cap: so many runtimes of an organisation, and of all, whoever starts them at once.

import { GIVE_PLACES, givePlaces, LOCK_PLACES } from '../src/places.ts';
import { eventually } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { runtimesWorld } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** A busy machine takes its time. */
let world: RuntimesWorld;

beforeAll(async () => {
  world = await runtimesWorld(inject('serverUrl'));
});
afterAll(async () => {
  await world.close();
});
beforeEach(async () => {
  await world.reset();
});

async function startAll(org: string, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, at) => world.wish('start', `${org}-${at}`, org)));
}

async function placed(org: string): Promise<number> {
  const { rows } = await world.db.pool.query<{ places: number }>(
    'select count(*)::int as places from app.agent_runtimes where placed_at is not null and org_id = $1',
    [org],
  );
  return rows[0]?.places ?? 0;
}

test('twenty at once give out the places that there are, and not one more', async () => {
  await startAll('acme', 30);
  await startAll('umbrella', 3);
  const cap = { perOrganisation: 8, inAll: undefined };
  const given = await Promise.all(Array.from({ length: 20 }, () => givePlaces(world.db.pool, cap)));
  expect(await placed('acme')).toBe(8);
  expect(await placed('umbrella')).toBe(3);
  const users = given.flat();
  expect(new Set(users).size).toBe(users.length);
  expect(users).toHaveLength(11);
});

test('who asked earlier and is seen later gets no place that has been given away meanwhile', async () => {
  await startAll('acme', 2);
  const cap = { perOrganisation: 2, inAll: undefined };
  const first = await world.db.pool.connect();
  await first.query('begin');
  await first.query(LOCK_PLACES);
  await first.query(GIVE_PLACES, [2, null]);
  // Its transaction took its time: by what it says it waits longer than the others.
  await world.wish('start', 'late', 'acme');
  await world.age('late', 60_000);
  const second = givePlaces(world.db.pool, cap);
  await eventually(async () => {
    const { rows } = await world.db.pool.query(
      `select from pg_stat_activity
       where datname = current_database() and (wait_event = 'advisory' or query like '%update app.agent_runtimes%')`,
    );
    return rows.length > 0;
  });
  await first.query('commit');
  first.release();
  expect(await second).toEqual([]);
  expect(await placed('acme')).toBe(2);
});

test('a limit over all holds beside those of organisations', async () => {
  await startAll('acme', 6);
  await startAll('umbrella', 6);
  const cap = { perOrganisation: 4, inAll: 5 };
  await Promise.all(Array.from({ length: 10 }, () => givePlaces(world.db.pool, cap)));
  expect((await placed('acme')) + (await placed('umbrella'))).toBe(5);
  expect(await placed('acme')).toBeLessThanOrEqual(4);
});

test('who waited longest is next, and only when nothing of the one before is left', async () => {
  const cap = { perOrganisation: 1 };
  await world.wish('start', 'first');
  await world.round({ cap });
  await world.wish('start', 'second');
  await world.wish('start', 'third');
  world.kube.state.behaviour.terminationMs = 3_600_000;
  await world.wish('stop', 'first');
  await world.round({ cap });
  await world.round({ cap });
  expect(await world.runtime('second')).toMatchObject({ placed: false });
  expect(world.kube.state.mostPods).toBe(1);
  world.kube.state.behaviour.terminationMs = 0;
  for (let rounds = 0; rounds < 3; rounds += 1) await world.round({ cap });
  expect(await world.runtime('second')).toMatchObject({ state: 'running' });
  expect(await world.runtime('third')).toMatchObject({ state: 'starting', placed: false });
});

test('who finds no place in time is told so', async () => {
  const cap = { perOrganisation: 1 };
  await world.wish('start', 'first');
  await world.round({ cap });
  await world.wish('start', 'second');
  await world.round({ cap });
  await world.age('second', 301_000);
  await world.round({ cap });
  expect(await world.runtime('second')).toMatchObject({
    state: 'error',
    placed: false,
    reason: 'not ready within 300 s: no place was free',
  });
});

test('a start that failed gives its place to the next', async () => {
  const cap = { perOrganisation: 1 };
  world.kube.state.behave('unschedulable', 'openclaw-first');
  await world.wish('start', 'first');
  await world.round({ cap });
  await world.wish('start', 'second');
  await world.age('first', 301_000);
  for (let rounds = 0; rounds < 5; rounds += 1) await world.round({ cap });
  expect(await world.runtime('first')).toMatchObject({ state: 'error', placed: false });
  expect(await world.runtime('second')).toMatchObject({ state: 'running' });
});

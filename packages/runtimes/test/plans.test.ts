// What the reconciler asks once a second stays cheap when a million users have had a runtime.

import { GIVE_PLACES } from '../src/places.ts';
import { RELEVANT_RUNTIMES } from '../src/runtime-row.ts';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

/** A busy machine takes its time. */
let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  await db.pool.query('alter table app.agent_runtimes disable trigger user');
  await db.pool.query(
    `insert into app.agent_runtimes (user_id, org_id, name, state, reason)
     select 'user-' || n, 'org-' || n % 100, 'openclaw-user-' || n, 'stopped', 'stopped'
     from generate_series(1, 50000) n`,
  );
  await db.pool.query(
    `update app.agent_runtimes set state = 'starting' where user_id in ('user-1', 'user-2', 'user-3')`,
  );
  await db.pool.query(`update app.agent_runtimes set placed_at = now() where user_id = 'user-1'`);
  await db.pool.query('vacuum analyze app.agent_runtimes');
});
afterAll(async () => {
  await db.drop();
});

async function planOf(statement: string, values: readonly unknown[]): Promise<string> {
  const { rows } = await db.pool.query<{ 'QUERY PLAN': string }>(`explain ${statement}`, [...values]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

test('a round reads what is in motion, placed, or in the cluster, and not the table', async () => {
  const plan = await planOf(RELEVANT_RUNTIMES, [['openclaw-user-7', 'openclaw-user-8']]);
  expect(plan).not.toContain('Seq Scan');
  expect(plan).toContain('agent_runtime_in_motion');
  expect(plan).toContain('agent_runtime_placed');
  expect(plan).toContain('agent_runtimes_name_key');
});

test('places are counted and given out without the table', async () => {
  const plan = await planOf(GIVE_PLACES, [8, null]);
  expect(plan).not.toContain('Seq Scan');
});

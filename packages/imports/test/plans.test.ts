// The plans of what is asked once a chunk and by the clock: on a large table, and on one that nobody has statistics of.

import { hash } from 'node:crypto';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { BEAT, BEGIN_RUN, COUNT_CHUNK } from '../src/run-record.ts';
import { FORGOTTEN, OPEN, PRUNE } from '../src/upkeep.ts';
import { FORGET_TRIAL_ITEMS } from '../src/trial-items.ts';
import { COMPARE_ITEMS, WRITE_ITEMS } from '../src/write-items.ts';

const ids = Array.from({ length: 1_000 }, (_, n) => `item-${n * 17}`);
const of = <T>(value: T): T[] => ids.map(() => value);
const hashes = ids.map((id) => hash('sha256', id, 'buffer'));
const content = ['acme', ids, of('name'), of('text'), of('{}'), of(null)];
const JOB = '00000000-0000-0000-0000-000000000001';

describe.each([
  ['with statistics', true],
  ['without', false],
])('%s', (_, analyzed) => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase(inject('serverUrl'));
    await database.pool.query(`
      alter table app.items set (autovacuum_enabled = off);
      alter table app.import_jobs set (autovacuum_enabled = off);
      insert into app.items (org_id, canonical_id, name) select 'acme', 'item-' || n, 'n' from generate_series(1, 40000) n;
      insert into app.import_jobs (org_id, file_path, state, ended_at)
        select 'acme', 'f', case when n % 500 = 0 then 'queued' else 'completed' end,
               case when n % 500 > 0 then now() - n * interval '1 minute' end
        from generate_series(1, 20000) n`);
    if (analyzed) await database.pool.query('analyze app.items; analyze app.import_jobs');
  });
  afterAll(async () => {
    await database.drop();
  });

  async function planOf(sql: string, parameters: readonly unknown[]): Promise<string> {
    const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${sql}`, [
      ...parameters,
    ]);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  }

  test('the items of a chunk are found by their ids, one probe each', async () => {
    const write = await planOf(WRITE_ITEMS, [...content, of(null), of(null), hashes, true, true, {}]);
    const compare = await planOf(COMPARE_ITEMS, [...content, hashes, true, JOB]);
    expect(compare).toMatch(/import_trial_items_pkey/);
    for (const plan of [write, compare]) {
      expect(plan).toMatch(/Index Scan using items_org_id_canonical_id_key on items/);
      expect(plan).not.toMatch(/Seq Scan/);
    }
  });

  test('the row of an import is found by its key', async () => {
    const plans = [
      await planOf(BEGIN_RUN, [JOB, JOB, 30]),
      await planOf(BEAT, [JOB, 1]),
      await planOf(COUNT_CHUNK, [JOB, 1, 0, 0, 0, 0, 0, 0, 0, null, null, null, 0]),
    ];
    for (const plan of plans) {
      expect(plan).toMatch(/import_jobs_pkey/);
      expect(plan).not.toMatch(/Seq Scan/);
    }
  });

  test('what a dry run remembers is found by its key, and forgotten a part at a time', async () => {
    const plan = await planOf(FORGET_TRIAL_ITEMS, [JOB, 10_000]);
    expect(plan).toMatch(/import_trial_items_pkey/);
    expect(plan).not.toMatch(/Seq Scan/);
  });

  test('upkeep looks at what is open and at what may be forgotten, and at nothing else', async () => {
    expect(await planOf(FORGOTTEN, [60])).toMatch(/import_job_open/);
    expect(await planOf(OPEN, [])).toMatch(/import_job_open/);
    const prune = await planOf(PRUNE, [86_400, 100]);
    expect(prune).toMatch(/import_job_ended/);
    expect(prune).not.toMatch(/Seq Scan/);
  });
});

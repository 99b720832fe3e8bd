import type { Queryable } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { faults, faultsOf, interleavings } from './interleaving.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});

/** The reader's queries with one part of their text replaced; a part that is not there is an error. */
function broken(part: string, by: string): { readonly db: Queryable; readonly replaced: () => number } {
  let count = 0;
  const query = async (config: { text: string }): Promise<unknown> => {
    if (config.text.includes(part)) count += 1;
    return await database.pool.query({ ...config, text: config.text.replace(part, by) });
  };
  return { db: { query } as unknown as Queryable, replaced: () => count };
}

describe('random interleavings of writers and reads', () => {
  test.each([
    ['as large as a limit lets them be', undefined, 100],
    ['cut after two or three events', 120, 60],
    ['cut after each event', 1, 60],
  ])(
    'deliver every committed event once, none that was rolled back, in order for every key: batches %s',
    async (_what, characters, numRuns) => {
      await fc.assert(
        fc.asyncProperty(interleavings, async (steps) => {
          expect(await faultsOf(database.pool, steps, database.pool, characters)).toEqual([]);
        }),
        { numRuns },
      );
    },
  );

  type Fault = 'lost' | 'duplicated' | 'inverted';

  async function catches(fault: Fault, part: string, by: string): Promise<boolean> {
    const { db, replaced } = broken(part, by);
    const { failed } = await fc.check(
      fc.asyncProperty(interleavings, async (steps) => {
        const found = await faultsOf(database.pool, steps, db);
        return !found.some((one) => one.startsWith(fault));
      }),
      { numRuns: 500, endOnFailure: true },
    );
    expect(replaced()).toBeGreaterThan(0);
    return failed;
  }

  test('catch a reader that forgets transactions above xmax', async () => {
    const rangeArm = 'and (e.xid, e.seq) < ($3::xid8, 0::bigint)\n        and e.seq <= $1::bigint';
    expect(await catches('lost', rangeArm, `${rangeArm} and false`)).toBe(true);
  });

  test('catch a reader that forgets the list of open transactions', async () => {
    const seen = 'where pg_visible_in_snapshot(open.xid, pg_current_snapshot())';
    expect(await catches('lost', seen, 'where false')).toBe(true);
  });

  test('catch a reader that orders by xid', async () => {
    const newOnes = 'order by seq\n    limit $4::bigint\n  ) e';
    expect(await catches('inverted', newOnes, `order by xid, seq\n    limit $4::bigint\n  ) e`)).toBe(true);
  });

  test('catch a reader that does not freeze the snapshot it pages under', async () => {
    const frozen = 'where pg_visible_in_snapshot(candidate.xid, $5::pg_snapshot)';
    expect(await catches('duplicated', frozen, 'where true')).toBe(true);
  });

  test('tell lost, duplicated, inverted and invented events apart', () => {
    expect(faults(['k#1', 'k#2', 'l#3'], ['k#2', 'k#1', 'k#1', 'm#9'])).toEqual([
      'inverted: k#1 after 2',
      'duplicated: k#1',
      'inverted: k#1 after 2',
      'never committed: m#9',
      'lost: l#3',
    ]);
  });
});

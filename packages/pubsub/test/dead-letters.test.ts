// Messages that nobody understood and nobody looked at: how long they are kept.

import { listDeadLetters, pruneDeadLetters } from '@pulsebox/pubsub';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

const SECONDS_OF_A_DAY = 86_400;

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await db.drop();
});

test('removes what came long ago, any number of it, and keeps what is younger', async () => {
  await db.pool.query(
    `insert into pubsub.dead_letter (subscription, message_id, published_at, received_at, reason, data)
     select 'mail', n, now(), now() - case when n <= 2500 then interval '31 days' else interval '29 days' end, 'no', ''
     from generate_series(1, 2501) n`,
  );
  const olderThanSeconds = 30 * SECONDS_OF_A_DAY;
  expect(await pruneDeadLetters(db.pool, { olderThanSeconds })).toBe(2_500);
  expect((await listDeadLetters(db.pool, 10)).map(({ messageId }) => messageId)).toEqual(['2501']);
  expect(await pruneDeadLetters(db.pool, { olderThanSeconds })).toBe(0);
});

test('ends between two statements when its worker stops', async () => {
  const signal = AbortSignal.abort(new Error('stopping'));
  await expect(pruneDeadLetters(db.pool, { olderThanSeconds: 0, signal })).rejects.toThrow('stopping');
});

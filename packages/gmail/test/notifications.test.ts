import { matchConnections, recordNotifications } from '@pulsebox/gmail';
import { transaction } from '@pulsebox/postgres';
import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { connected, emitted } from './connected.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
});

afterAll(async () => {
  await db.drop();
});

beforeEach(async () => {
  await db.pool.query('truncate app.mail_connections cascade');
  await db.pool.query('truncate outbox.event');
});

async function told(...notifications: (readonly [address: string, historyId: bigint])[]) {
  return await transaction(db.pool, (client) =>
    recordNotifications(
      client,
      notifications.map(([emailAddress, historyId]) => ({ emailAddress, historyId })),
    ),
  );
}

test('folds a burst in any order into one event of the newest id for each connection of the address', async () => {
  const ada = await connected(db.pool, { email: 'Ada@Example.com' });
  const shared = await connected(db.pool, { email: 'ada@example.COM', userId: 'assistant' });
  const other = await connected(db.pool, { email: 'bob@example.com', userId: 'bob' });

  const { changed, unmatched } = await told(
    ['ADA@example.com', 9_999n],
    ['ada@example.com', 18_446_744_073_709_551_615n],
    ['ada@EXAMPLE.com', 10_000n],
    ['Nobody@example.com', 5n],
  );

  expect({ changed, unmatched }).toEqual({ changed: 2, unmatched: ['nobody@example.com'] });
  const events = await emitted(db.pool);
  expect(events.map(({ topic }) => topic)).toEqual(['mail.changed', 'mail.changed']);
  expect(new Set(events.map(({ payload }) => payload['connection_id']))).toEqual(new Set([ada, shared]));
  expect(events.map(({ payload }) => payload['history_id'])).toEqual(Array(2).fill('18446744073709551615'));
  expect(events.map(({ key, payload }) => key === `mailbox:${String(payload['connection_id'])}`)).toEqual([
    true,
    true,
  ]);
  expect(await matchConnections(db.pool, 'BOB@example.com')).toMatchObject([
    { connectionId: other, notifiedHistoryId: null },
  ]);
});

test('compares ids as numbers, and says nothing of what was told before or is synced already', async () => {
  const id = await connected(db.pool, { historyId: 1_000n });
  expect(await told(['ada@example.com', 999n])).toMatchObject({ changed: 0, unmatched: [] });
  expect(await told(['ada@example.com', 1_000n])).toMatchObject({ changed: 0 });
  expect(await told(['ada@example.com', 10_000n])).toMatchObject({ changed: 1 });
  expect(await told(['ada@example.com', 9_999n], ['ada@example.com', 10_000n])).toMatchObject({ changed: 0 });
  expect(await emitted(db.pool)).toHaveLength(1);
  expect(await matchConnections(db.pool, ['ada@example.com'])).toEqual([
    {
      connectionId: id,
      userId: 'ada',
      orgId: 'acme',
      email: 'ada@example.com',
      historyId: 1_000n,
      notifiedHistoryId: 10_000n,
    },
  ]);
});

test('leaves connections alone that are not active', async () => {
  await connected(db.pool);
  await db.pool.query(`update app.mail_connections set state = 'revoked'`);
  expect(await told(['ada@example.com', 1n])).toEqual({ changed: 0, unmatched: ['ada@example.com'] });
});

test('keeps a stored history id, whatever an update says', async () => {
  await connected(db.pool, { historyId: 500n });
  for (const value of ['499', null]) {
    await db.pool.query('update app.mail_connections set history_id = $1', [value]);
    expect((await matchConnections(db.pool, 'ada@example.com'))[0]?.historyId).toBe(500n);
  }
  await db.pool.query('update app.mail_connections set history_id = 501');
  expect((await matchConnections(db.pool, 'ada@example.com'))[0]?.historyId).toBe(501n);
});

test('commits nothing when the transaction of its caller rolls back', async () => {
  await connected(db.pool);
  await expect(
    transaction(db.pool, async (client) => {
      await recordNotifications(client, [{ emailAddress: 'ada@example.com', historyId: 7n }]);
      throw new Error('the caller changed its mind');
    }),
  ).rejects.toThrow('changed its mind');
  expect(await emitted(db.pool)).toEqual([]);
  expect((await matchConnections(db.pool, 'ada@example.com'))[0]?.notifiedHistoryId).toBeNull();
});

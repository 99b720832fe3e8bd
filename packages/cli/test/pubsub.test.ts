// pulsebox pubsub against a real database.

import { createTestDatabase } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { pulsebox } from './pulsebox.ts';

let db: TestDatabase;
let env: { DATABASE_URL: string };

beforeAll(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  env = { DATABASE_URL: db.url };
  await db.pool.query(
    `insert into pubsub.dead_letter (subscription, message_id, published_at, received_at, reason, data) values
     ('mail-changes', '1', '2026-01-01T10:00Z', '2026-01-01T10:01Z', 'expected JSON in UTF-8, got 3 bytes of something else', '\\x001b5b'),
     ('mail-changes', '2', '2026-01-02T10:00Z', '2026-01-02T10:01Z', 'expected an object, got an array', '[]')`,
  );
});
afterAll(async () => await db.drop());

test('lists what could not be understood, the newest first, and nothing of it reaches the terminal raw', async () => {
  const { code, stdout } = await pulsebox(['pubsub', 'dead'], { env });
  expect(code).toBe(0);
  expect(stdout.indexOf('got an array')).toBeLessThan(stdout.indexOf('3 bytes of something else'));
  expect(stdout).not.toContain('\u001b');
  const asJson = await pulsebox(['pubsub', 'dead', '--json', '--limit', '1'], { env });
  expect(asJson.json()).toMatchObject([{ messageId: '2', data: Buffer.from('[]').toString('base64') }]);
});

test('discards what is named, then all, and asks for a decision', async () => {
  const neither = await pulsebox(['pubsub', 'discard'], { env });
  expect(neither).toMatchObject({ code: 2, stderr: expect.stringContaining('ids of messages, or --all') });
  const unsure = await pulsebox(['pubsub', 'discard', '--all'], { env });
  expect(unsure).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
  const some = await pulsebox(['pubsub', 'discard', '1', '7', '--json'], { env });
  expect(some.code).toBe(1);
  expect(some.json()).toEqual({ discarded: 1, missing: ['7'] });
  const all = await pulsebox(['pubsub', 'discard', '--all', '--yes'], { env });
  expect(all).toMatchObject({ code: 0, stdout: expect.stringContaining('discarded 1 message') });
  expect((await pulsebox(['pubsub', 'dead'], { env })).stdout).toContain('no messages');
});

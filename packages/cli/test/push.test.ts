import { subscribe } from '@pulsebox/push';
import { browserKeys, createTestDatabase, eventually } from '@pulsebox/test-support';
import type { TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { parseVapid } from '@pulsebox/push';
import { pulsebox } from './pulsebox.ts';
import type { Ran } from './pulsebox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  await database.pool.query('truncate app.push_subscriptions, push.delivery');
});

async function run(...args: readonly string[]): Promise<Ran> {
  return await pulsebox(args, { env: { DATABASE_URL: database.url } });
}

async function browserOf(userId: string, name = 'browser'): Promise<number> {
  const { p256dh, auth } = browserKeys();
  const endpoint = `https://push.example/secret-${userId}-${name}`;
  return await subscribe(database.pool, {
    userId,
    endpoint,
    p256dh,
    auth,
    userAgent: 'Firefox \u001B[31m on Linux',
  });
}

test('vapid makes a pair that can be used, without any database', async () => {
  const ran = await pulsebox(['vapid', '--json']);
  expect(ran.code).toBe(0);
  const keys = ran.json<{ publicKey: string; privateKey: string }>();
  expect(parseVapid({ ...keys, subject: 'mailto:push@pulsebox.example' })).toMatchObject(keys);
  const text = await pulsebox(['vapid']);
  expect(text.stdout).toMatch(/^VAPID_PUBLIC_KEY=[\w-]{87}\nVAPID_PRIVATE_KEY=[\w-]{43}\n$/);
  expect(text.stderr).toContain('VAPID_SUBJECT');
});

describe('push send', () => {
  test('emits what an application would, and tells what became of it', async () => {
    const subscription = await browserOf('ann');
    const sending = run(
      'push',
      'send',
      'ann',
      '--title',
      'Hello',
      '--data',
      '{"id":1}',
      '--ttl',
      '60',
      '--urgency',
      'high',
      '--topic',
      't',
    );
    const event = await eventually(async () => {
      const { rows } = await database.pool.query<{ seq: string; payload: unknown }>(
        `select seq, payload from outbox.event where topic = 'push.requested' order by seq desc limit 1`,
      );
      return rows[0];
    });
    expect(event.payload).toEqual({
      user_id: 'ann',
      payload: { title: 'Hello', data: { id: 1 } },
      ttl: 60,
      urgency: 'high',
      topic: 't',
    });
    await database.pool.query(
      `insert into push.delivery (position, subscription_id, outcome, expires_at) values ($1, $2, 'sent', now())`,
      [event.seq, subscription],
    );
    expect(await sending).toMatchObject({
      code: 0,
      stdout: `emitted at position ${event.seq} for 1 subscription\n  1 taken by its push service\n`,
    });
  });

  test('without a worker it says so, and ends with 1', async () => {
    await browserOf('ann');
    const ran = await run('push', 'send', 'ann', '--title', 'Hello', '--wait', '1');
    expect(ran.code).toBe(1);
    expect(ran.stdout).toContain('1 not yet: `pulsebox groups` shows whether push-worker runs');
    const unwatched = await run('push', 'send', 'ann', '--title', 'Hello', '--wait', '0', '--json');
    expect(unwatched.code).toBe(0);
    expect(unwatched.json()).toMatchObject({ user: 'ann', subscriptions: 1, outcomes: {} });
  });

  test('to a user without subscriptions nothing is emitted', async () => {
    const ran = await run('push', 'send', 'nobody', '--title', 'Hello');
    expect(ran).toMatchObject({ code: 1, stdout: 'nobody has no subscriptions; nothing was emitted\n' });
  });

  test.each([
    [['ann'], 'expected a payload with at least one of title, body, url, tag and data, got none'],
    [['ann', '--title', 'x'.repeat(4_000)], 'expected a payload of at most 3,993 bytes'],
    [['ann', '--title', 'x', '--topic', 'a b'], 'expected a topic of 1 to 32'],
    [['ann', '--title', 'x', '--urgency', 'now'], 'Allowed choices are very-low, low, normal, high'],
    [['ann', '--title', 'x', '--ttl', '-1'], 'Expected a whole number from 0'],
    [['ann', '--title', 'x', '--data', '{'], 'expected the data to be JSON'],
  ])('%j is refused in words', async (args, said) => {
    const ran = await run('push', 'send', ...args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(said);
  });
});

describe('push subscriptions', () => {
  test('shows who can be notified, without endpoints, keys or escape sequences', async () => {
    const first = await browserOf('ann', 'a');
    await browserOf('ann', 'b');
    await browserOf('bob');
    await database.pool.query(
      'update app.push_subscriptions set failure_count = 3 where subscription_id = $1',
      [first],
    );
    const all = await run('push', 'subscriptions');
    expect(all.stdout).toMatch(/^ *ID +USER +SERVICE +SINCE +LAST SUCCESS +FAILED +BROWSER\n/);
    expect(all.stdout.trim().split('\n')).toHaveLength(4);
    expect(all.stdout).not.toContain('\u001B');
    const shown = await run('push', 'subscriptions', '--user', 'ann', '--failing', '--json');
    expect(shown.json()).toEqual([
      {
        subscriptionId: first,
        userId: 'ann',
        origin: 'https://push.example',
        userAgent: 'Firefox \u001B[31m on Linux',
        createdAt: expect.any(String) as string,
        lastSuccessAt: null,
        failureCount: 3,
      },
    ]);
    expect(all.stdout + shown.stdout).not.toContain('secret');
    const page = await run('push', 'subscriptions', '--limit', '1', '--after', String(first));
    expect(page.stderr).toContain(`--after ${first + 1}`);
  });

  test('says when there are none', async () => {
    expect(await run('push', 'subscriptions')).toMatchObject({ code: 0, stdout: 'no subscriptions\n' });
  });
});

// What a sync makes of everything that Google may answer, and of whom it is told.

import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { GmailStandInMailbox } from '@pulsebox/test-support';
import { emitted } from './connected.ts';
import { changed, eachWithMailbox, topics } from './mail-world.ts';
import type { MailWorld } from './mail-world.ts';

let world: MailWorld;
let mailbox: GmailStandInMailbox;
let id: string;

eachWithMailbox((own) => {
  ({ world, mailbox, id } = own);
});

/** Another mailbox that is well, and was synced. */
async function another(): Promise<{ readonly mailbox: GmailStandInMailbox; readonly id: string }> {
  const other = world.gmail.mailbox(`bob-beside-${mailbox.email}`);
  const otherId = await world.connect(other, 'bob');
  await world.sync(otherId);
  return { mailbox: other, id: otherId };
}

async function forgetEvents(): Promise<void> {
  await world.db.pool.query('truncate outbox.event');
}

describe('tokens', () => {
  test('that Google refuses before their time are replaced once, however many requests find out', async () => {
    await world.sync(id);
    for (let n = 0; n < 30; n += 1) mailbox.deliver();
    mailbox.expireAccessTokens();
    world.gmail.forgetRequests();
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(30);
    expect(world.gmail.requestsTo(/token/)).toHaveLength(1);
  });

  test('that ran out are replaced before they are sent', async () => {
    await world.db.pool.query(`update app.mail_connections set access_token_expires_at = now()`);
    world.gmail.forgetRequests();
    await world.sync(id);
    expect(world.gmail.requests[0]?.path).toBe('/token');
    expect(world.gmail.requestsTo(/token/)).toHaveLength(1);
  });

  test('of a grant that was taken back mark the mailbox, which is left alone from then on', async () => {
    const other = await another();
    mailbox.revoke();
    other.mailbox.deliver();
    expect(await world.deliver(changed(id, other.id))).toEqual({ failed: [] });
    expect(await world.connection(id)).toMatchObject({
      state: 'revoked',
      state_reason: 'the grant has expired, was revoked, or the password was changed',
      access_token: null,
    });
    expect(await world.messages(other.id)).toHaveLength(1);
    world.gmail.forgetRequests();
    expect(await world.deliver(changed(id))).toEqual({ failed: [] });
    expect(world.gmail.requests).toEqual([]);
  });

  test('of a grant without the scope mark the mailbox, too', async () => {
    const fault = { kind: 'error', status: 403, reason: 'insufficientPermissions' } as const;
    world.gmail.inject({ path: /profile/, fault });
    expect(await world.deliver(changed(id))).toEqual({ failed: [] });
    expect(await world.connection(id)).toMatchObject({
      state: 'revoked',
      state_reason: expect.stringContaining('the grant does not allow to read this mailbox'),
    });
  });

  test('that a wrong client asks for pause the group and mark nobody', async () => {
    await world.db.pool.query(`update app.mail_connections set access_token = null`);
    const mail = world.another({ clientSecret: 'wrong' });
    await expect(world.deliver(changed(id), { mail })).rejects.toMatchObject({
      name: 'SinkError',
      kind: 'away',
      code: 'GMAIL_CLIENT_REFUSED',
    });
    expect(await world.connection(id)).toMatchObject({ state: 'active' });
  });

  test('under a key that is not here fail by themselves, and mark nobody', async () => {
    const mail = world.another({ encryptionKey: randomBytes(32).toString('hex') });
    const { failed } = await world.deliver(changed(id), { mail });
    expect(failed).toMatchObject([{ retryable: true, reason: expect.stringContaining('GMAIL_KEY_UNKNOWN') }]);
    expect(await world.connection(id)).toMatchObject({
      state: 'active',
      last_error: expect.stringContaining('not in ENCRYPTION_KEY'),
    });
  });
});

describe('limits', () => {
  test.for([
    ['429', { kind: 'error', status: 429, reason: 'rateLimitExceeded' }],
    ['403 rateLimitExceeded', { kind: 'error', status: 403, reason: 'rateLimitExceeded' }],
    ['403 userRateLimitExceeded', { kind: 'error', status: 403, reason: 'userRateLimitExceeded' }],
    ['503', { kind: 'answer', status: 503 }],
    ['a connection that breaks', { kind: 'reset' }],
  ] as const)('are waited out after %s', async ([, fault]) => {
    mailbox.fill(20);
    world.gmail.inject({ path: /messages\/./, times: 2, fault });
    world.gmail.inject({ path: /profile/, times: 1, fault });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(20);
    expect((await topics(world))['mail.message']).toBeUndefined();
  });

  test('that last longer are handed on with their event, and keep no other mailbox waiting', async () => {
    const other = await another();
    other.mailbox.deliver();
    const headers = { 'retry-after': '77' };
    const fault = { kind: 'error', status: 429, reason: 'rateLimitExceeded', headers } as const;
    world.gmail.inject({ path: /profile/, email: mailbox.email, fault });
    const { failed } = await world.deliver(changed(id, other.id));
    expect(failed).toMatchObject([
      { retryable: true, retryAfterMs: 77_000, reason: expect.stringContaining('GMAIL_RATE_LIMITED') },
    ]);
    expect(await world.messages(other.id)).toHaveLength(1);
    // Whoever comes in that time is sent away, and Google is not asked.
    world.gmail.heal();
    world.gmail.forgetRequests();
    expect((await world.deliver(changed(id))).failed).toMatchObject([{ retryable: true }]);
    expect(world.gmail.requests).toEqual([]);
    const later = world.another({});
    expect(await world.deliver(changed(id), { mail: later })).toEqual({ failed: [] });
    expect(await world.connection(id)).toMatchObject({ last_error: null });
  });
});

describe('Google', () => {
  test.for([
    [
      'breaks over everything',
      async () => world.gmail.inject({ path: /gmail/, times: 99, fault: { kind: 'answer', status: 500 } }),
    ],
    [
      'answers nothing',
      async () => world.gmail.inject({ path: /gmail/, times: 99, fault: { kind: 'silence' } }),
    ],
    ['hangs up', async () => world.gmail.inject({ path: /gmail/, times: 99, fault: { kind: 'reset' } })],
  ] as const)('pauses the group when it %s', async ([, breakIt]) => {
    const other = await another();
    await breakIt();
    const mail = world.another({ timeoutMs: 200 });
    await expect(world.deliver(changed(id, other.id), { mail })).rejects.toMatchObject({
      name: 'SinkError',
      kind: 'away',
      code: 'GMAIL_AWAY',
    });
    world.gmail.heal();
    expect(await world.deliver(changed(id, other.id))).toEqual({ failed: [] });
  });

  test('that breaks over one mailbox only fails its events, when it is alone in the batch as well', async () => {
    await another();
    const fault = { kind: 'answer', status: 500 } as const;
    world.gmail.inject({ path: /./, email: mailbox.email, times: 99, fault });
    const { failed } = await world.deliver(changed(id));
    expect(failed).toMatchObject([{ retryable: true, reason: expect.stringContaining('GMAIL_AWAY') }]);
  });

  test.for([
    ['no JSON', { kind: 'answer', status: 200, body: '<html>Welcome to the hotel</html>' }],
    ['other JSON', { kind: 'answer', status: 200, body: '{"historyId":{}}' }],
    ['a redirect', { kind: 'answer', status: 302, headers: { location: 'http://127.0.0.1:1/' } }],
  ] as const)('that answers with %s is an error that says so', async ([, fault]) => {
    world.gmail.inject({ path: /profile/, times: 99, fault });
    const result = await world.deliver(changed(id)).catch((error: unknown) => error);
    expect(JSON.stringify(result) + String(result)).toMatch(
      /GMAIL_ANSWER_INVALID|no connection|something that is not JSON answered 200/,
    );
  });
});

describe('one bad message', () => {
  test('gets an event of its own, and all others are stored', async () => {
    mailbox.fill(30);
    const bad = mailbox.deliver({ subject: 'cursed' });
    const path = new RegExp(`messages/${bad}$`);
    world.gmail.inject({ path, times: 99, fault: { kind: 'answer', status: 500 } });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(30);
    const [event] = await emitted(world.db.pool, 'mail.message');
    expect(event).toMatchObject({
      key: `mail:${id}/${bad}`,
      payload: { connection_id: id, gmail_id: bad },
    });

    const asked = { topic: 'mail.message', payload: { connection_id: id, gmail_id: bad } };
    const { failed } = await world.deliver([asked]);
    expect(failed).toMatchObject([
      { retryable: true, reason: expect.stringContaining('Google answered 500') },
    ]);
    world.gmail.heal();
    expect(await world.deliver([asked])).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject }) => subject)).toContain('cursed');
    mailbox.remove(bad);
    expect(await world.deliver([asked])).toEqual({ failed: [] });
  });

  test('that cannot be read fails by itself, whatever it is about it', async () => {
    await world.sync(id);
    const dates = mailbox.deliver({ raw: { internalDate: 'yesterday' } });
    const lists = mailbox.deliver({ raw: { payload: { headers: 'none' } } });
    mailbox.deliver({ subject: 'well' });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject }) => subject)).toEqual(['well']);
    const events = await emitted(world.db.pool, 'mail.message');
    expect(new Set(events.map(({ payload }) => payload['gmail_id']))).toEqual(new Set([dates, lists]));
    const { failed } = await world.deliver(
      [dates, lists].map((gmail_id) => ({ topic: 'mail.message', payload: { connection_id: id, gmail_id } })),
    );
    expect(failed).toHaveLength(2);
  });

  test('that the database refuses keeps no other one of its page out', async () => {
    await world.sync(id);
    await forgetEvents();
    await world.db.pool.query(`
      create function app.refuse() returns trigger language plpgsql as
        $$ begin raise data_exception using message = 'no room for ' || new.subject; end $$;
      create trigger refuse before insert on app.mail_messages for each row
        when (new.subject = 'whispers') execute function app.refuse()`);
    const bad = mailbox.deliver({ subject: 'whispers' });
    const well = mailbox.deliver({ subject: 'well' });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await topics(world)).toMatchObject({ 'mail.message': 2 });
    const { failed } = await world.deliver(
      [bad, well].map((gmail_id) => ({ topic: 'mail.message', payload: { connection_id: id, gmail_id } })),
    );
    await world.db.pool.query('drop function app.refuse cascade');
    expect(failed).toMatchObject([{ reason: 'the database refused the message (SQLSTATE 22000)' }]);
    // PostgreSQL quotes what it stumbles over, and nobody else does.
    expect(JSON.stringify([failed, world.logged, await world.connection(id)])).not.toContain('whispers');
    expect((await world.messages(id)).map(({ subject }) => subject)).toEqual(['well']);
  });

  test('too large with its text is stored without it', async () => {
    await world.sync(id);
    mailbox.deliver({ subject: 'huge', text: 'x'.repeat(17 * 1024 * 1024) });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toMatchObject([{ subject: 'huge', text: null }]);
  });
});

test('an event that names no mailbox is a failure that no retry would mend; other topics are none of ours', async () => {
  const payloads = [{}, { connection_id: 'x' }, { connection_id: id, history_id: 'new' }, 7];
  const { failed } = await world.deliver([
    ...payloads.map((payload) => ({ topic: 'mail.changed', payload })),
    { topic: 'mail.message', payload: { connection_id: id, gmail_id: '../../settings' } },
    { topic: 'item.upserted', payload: {} },
  ]);
  expect(failed).toHaveLength(5);
  expect(failed.every(({ retryable, reason }) => !retryable && reason.includes('GMAIL_EVENT_INVALID'))).toBe(
    true,
  );
});

test('no token is ever in what is logged, stored as an error, or sent to anybody but Google', async () => {
  mailbox.fill(5);
  await world.sync(id);
  mailbox.expireAccessTokens();
  world.gmail.inject({
    path: /token/,
    times: 1,
    fault: { kind: 'answer', status: 400, body: 'token=1//refresh-x' },
  });
  const { failed } = await world.deliver(changed(id));
  mailbox.revoke();
  await world.deliver(changed(id));
  const { rows } = await world.db.pool.query(
    'select last_error, state_reason, watch_error from app.mail_connections',
  );
  const said = JSON.stringify([failed, rows, world.logged, await emitted(world.db.pool)]);
  expect(said).not.toMatch(/ya29\.|1\/\/refresh|stand-in-secret/);
});

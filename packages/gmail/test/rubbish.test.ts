// What nobody would send, from Google's side or from a mail's sender, and what becomes of it.

import { describe, expect, test } from 'vitest';
import { transaction } from '@pulsebox/postgres';
import { keepMailboxes, recordNotifications } from '@pulsebox/gmail';
import { createLogger } from '@pulsebox/loop';
import type { GmailFault, GmailStandInMailbox } from '@pulsebox/test-support';
import { emitted } from './connected.ts';
import { changed, eachWithMailbox, topics } from './mail-world.ts';
import type { MailWorld } from './mail-world.ts';

let world: MailWorld;
let mailbox: GmailStandInMailbox;
let id: string;

eachWithMailbox((own) => {
  ({ world, mailbox, id } = own);
});

function answer(body: unknown): GmailFault {
  return { kind: 'answer', status: 200, body: typeof body === 'string' ? body : JSON.stringify(body) };
}

async function another(): Promise<string> {
  const other = await world.connect(world.gmail.mailbox(`well-beside-${mailbox.email}`), 'bob');
  await world.sync(other);
  return other;
}

async function logOf(): Promise<string> {
  return JSON.stringify([world.logged, await world.connection(id)]);
}

/** What is wrong with it, and the nth answer. */
type GivenPage = readonly [string, (n: number) => unknown];

describe('a message', () => {
  test.for([
    ['of the year 30000', { internalDate: '884541340800000' }, '1970-01-01T00:00:00.000Z'],
    ['of a date that no computer holds', { internalDate: '9'.repeat(20) }, '1970-01-01T00:00:00.000Z'],
    ['of before 1970', { internalDate: '-86400000' }, '1969-12-31T00:00:00.000Z'],
    ['of a size that is no number', { sizeEstimate: 'big' }, undefined],
    ['of a size that no database holds', { sizeEstimate: 1e30 }, undefined],
    [
      'with labels that are none',
      { labelIds: ['INBOX', '\0', 7, 'x'.repeat(1_000_000), 'INBOX', ''] },
      undefined,
    ],
    [
      'without labels, snippet, size and content',
      { labelIds: undefined, snippet: 7, sizeEstimate: null, payload: null },
      undefined,
    ],
    [
      'in a character set that nobody knows',
      { payload: part('text/plain; charset="klingon-8"', Buffer.from('nuqneH')) },
      undefined,
    ],
    [
      'whose base64url is broken',
      { payload: { mimeType: 'text/plain', body: { data: '%%%é====' } } },
      undefined,
    ],
    [
      'whose bytes are no UTF-8',
      { payload: part('text/plain', Buffer.from([0xff, 0xfe, 0, 0xc3])) },
      undefined,
    ],
    ['whose parts are nested a thousand deep', { payload: nested(1_000) }, undefined],
  ] as const)('%s is stored', async ([, raw, sentAt]) => {
    await world.sync(id);
    mailbox.deliver({ raw });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(1);
    expect((await topics(world))['mail.message']).toBeUndefined();
    const { rows } = await world.db.pool.query<{ sent_at: Date }>('select sent_at from app.mail_messages');
    if (sentAt !== undefined) expect(rows[0]?.sent_at.toISOString()).toBe(sentAt);
  });

  test('with a megabyte in each header is stored with the beginning of it', async () => {
    await world.sync(id);
    const value = 'x'.repeat(1_000_000);
    const headers = ['Subject', 'From', 'To', 'Cc', 'X-Spam'].map((name) => ({ name, value }));
    mailbox.deliver({ raw: { payload: { headers } } });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject, sender }) => [subject.length, sender.length])).toEqual([
      [2_000, 2_000],
    ]);
    const [push] = await emitted(world.db.pool, 'push.requested');
    expect(JSON.stringify(push).length).toBeLessThan(2_000);
  });

  test.for([
    ['"Grace Hopper" <grace@example.org>', 'Grace Hopper'],
    [' Grace  Hopper<grace@example.org> ', 'Grace  Hopper'],
    [' <grace@example.org> ', 'grace@example.org'],
    ['""<grace@example.org>', '""<grace@example.org'],
    ['grace@example.org', 'grace@example.org'],
    // Of whose spaces an expression took a cube: ten seconds for each such mail.
    [`${' '.repeat(1_990)}x`, 'x'],
  ] as const)('is told of with the name of its sender (%#)', async ([from, name]) => {
    await world.sync(id);
    mailbox.deliver({ raw: { payload: { headers: [{ name: 'From', value: from }] } } });
    const start = process.cpuUsage();
    expect(await world.sync(id)).toEqual({ failed: [] });
    const [push] = await emitted(world.db.pool, 'push.requested');
    expect(push).toMatchObject({ payload: { payload: { title: name } } });
    expect(process.cpuUsage(start).user).toBeLessThan(5_000_000);
  });

  test.for([
    ['<script>'.repeat(125_000), ''],
    ['<!--'.repeat(250_000), undefined],
    ['<'.repeat(1_000_000), undefined],
    [`${'<style>'.repeat(10)}p{}</STYLE >5 < 6 &amp; <p title="x">so</p><!-- no --> on`, '5 < 6 & so on'],
    ['</script'.repeat(100_000), undefined],
    [`<script>${'</script '.repeat(100_000)}`, undefined],
  ] as const)('made of tags that never end does not keep the worker busy (%#)', async ([html, text]) => {
    await world.sync(id);
    mailbox.deliver({ html });
    const start = process.cpuUsage();
    expect(await world.sync(id)).toEqual({ failed: [] });
    const [stored] = await world.messages(id);
    if (text !== undefined) expect(stored?.text).toBe(text);
    // With a step for each pair of characters this takes minutes.
    expect(process.cpuUsage(start).user).toBeLessThan(60_000_000);
  });

  test('with an id of a conversation that is none is set aside by itself', async () => {
    await world.sync(id);
    const bad = mailbox.deliver({ raw: { threadId: 'x'.repeat(1_000_000) } });
    mailbox.deliver({ subject: 'well' });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject }) => subject)).toEqual(['well']);
    expect(await emitted(world.db.pool, 'mail.message')).toMatchObject([{ payload: { gmail_id: bad } }]);
  });

  test.for([
    ['never comes', { kind: 'silence' }],
    ['breaks off in the middle', { kind: 'half' }],
    ['is HTML', answer('<html>502</html>')],
    ['is cut off', answer('{"id":"1","threadId":')],
    ['is empty', answer('')],
  ] as const)('whose answer %s is set aside by itself, and pauses nobody', async ([, fault]) => {
    await world.sync(id);
    const bad = mailbox.deliver({ subject: 'bad' });
    mailbox.deliver({ subject: 'well' });
    mailbox.deliver({ subject: 'well, too' });
    const mail = world.another({ timeoutMs: 300 });
    world.gmail.inject({ path: new RegExp(`messages/${bad}$`), times: 99, fault });
    expect(await world.sync(id, { mail })).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject }) => subject)).toEqual(['well', 'well, too']);
    const asked = [{ topic: 'mail.message', payload: { connection_id: id, gmail_id: bad } }];
    const { failed } = await world.deliver(asked, { mail });
    expect(failed).toMatchObject([{ retryable: true }]);
    world.gmail.heal();
    expect(await world.deliver(asked, { mail })).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(3);
  });
});

describe('several messages', () => {
  test('that alone are on a page, and that Google breaks over, do not hold up the mailbox', async () => {
    await world.sync(id);
    const bad = [mailbox.deliver(), mailbox.deliver(), mailbox.deliver()];
    const path = new RegExp(`messages/(${bad.join('|')})$`);
    world.gmail.inject({ path, times: 99, fault: { kind: 'answer', status: 500 } });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await topics(world))['mail.message']).toBe(3);
    mailbox.deliver({ subject: 'well' });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id)).map(({ subject }) => subject)).toEqual(['well']);
  });

  test('that are most of a page are no coincidence: Google is away, and no dead letters are made', async () => {
    await world.sync(id);
    await another();
    for (let n = 0; n < 30; n += 1) mailbox.deliver();
    world.gmail.inject({ path: /messages\//, times: 999, fault: { kind: 'answer', status: 500 } });
    const { failed } = await world.deliver(changed(id));
    expect(failed).toMatchObject([{ retryable: true, reason: expect.stringContaining('GMAIL_AWAY') }]);
    expect((await topics(world))['mail.message']).toBeUndefined();
    // Not one after the other to the end.
    expect(world.gmail.requestsTo(/messages\//).length).toBeLessThan(60);
    world.gmail.heal();
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(30);
  });
});

describe('a list of messages', () => {
  test.for([
    ['says nothing', answer('{}')],
    ['is a list', answer('[]')],
    ['is null', answer('null')],
    ['has a token of no kind that there is', answer({ messages: [], nextPageToken: 7 })],
    ['has a token with a zero character', answer({ messages: [], nextPageToken: 'a\0b' })],
    ['has ids that are none', answer({ messages: [{ id: '../settings' }] })],
    ['is no list', answer({ messages: {} })],
  ] as const)('that %s fails the sync, and nothing is taken for deleted', async ([, fault]) => {
    mailbox.fill(3);
    await world.sync(id);
    mailbox.forgetHistory();
    world.gmail.inject({ path: /messages$/, times: 99, fault });
    const { failed } = await world.deliver(changed(id));
    expect(failed).toMatchObject([
      { retryable: true, reason: expect.stringContaining('GMAIL_ANSWER_INVALID') },
    ]);
    expect((await world.messages(id)).every(({ deleted }) => !deleted)).toBe(true);
    world.gmail.heal();
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await topics(world))['item.archived']).toBeUndefined();
  });

  test('that names a message twice stores it once', async () => {
    const [only] = [mailbox.deliver()];
    const stub = { id: only, threadId: only };
    world.gmail.inject({ path: /messages$/, fault: answer({ messages: [stub, stub] }) });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(1);
  });

  test.for<GivenPage>([
    ['repeats its token', () => ({ resultSizeEstimate: 9, messages: [], nextPageToken: 'again' })],
    ['is empty page after page', (n: number) => ({ resultSizeEstimate: 9, nextPageToken: `page-${n}` })],
    ['goes on and on', (n: number) => ({ messages: thousand(n), nextPageToken: `page-${n}` })],
  ])('that %s ends as an error', async ([, page]) => {
    mailbox.fill(3);
    let n = 0;
    const body = (): string => JSON.stringify(page((n += 1)));
    world.gmail.inject({ path: /messages$/, times: 999, fault: { kind: 'answer', status: 200, body } });
    world.gmail.inject({ path: /messages\//, times: 99_999, fault: { kind: 'answer', status: 404 } });
    const mail = world.another({ unitsPerMinute: { mailbox: 1e9, project: 1e9 } });
    const { failed } = await world.deliver(changed(id), { mail, sliceMs: 600_000 });
    expect(failed).toMatchObject([
      { reason: expect.stringContaining('the pages of a list of Gmail lead nowhere') },
    ]);
    world.gmail.heal();
    await world.db.pool.query('update app.mail_connections set full_sync_base = null');
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id)).filter(({ deleted }) => !deleted)).toHaveLength(3);
  });

  test('whose pages are refused as soon as they are told of ends as an error', async () => {
    mailbox.fill(250);
    const body = (search: URLSearchParams): string =>
      JSON.stringify({ messages: [], nextPageToken: `page-${search.get('pageToken')}` });
    world.gmail.inject({ path: /messages$/, times: 1, fault: { kind: 'answer', status: 200, body } });
    world.gmail.inject({ path: /messages$/, times: 1, fault: { kind: 'answer', status: 400 } });
    world.gmail.inject({ path: /messages$/, times: 1, fault: { kind: 'answer', status: 200, body } });
    world.gmail.inject({ path: /messages$/, times: 1, fault: { kind: 'answer', status: 400 } });
    const { failed } = await world.deliver(changed(id));
    expect(failed).toMatchObject([{ reason: expect.stringContaining('it refuses a page') }]);
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(250);
  });
});

describe('a history', () => {
  test.for<GivenPage>([
    ['repeats its token', () => ({ historyId: '2000', nextPageToken: 'again' })],
    [
      'gets no further',
      (n: number) => ({ historyId: '2000', history: [{ id: '1001' }], nextPageToken: `p${n % 2}` }),
    ],
    ['has no id', () => ({ history: [] })],
    ['has an id with a fraction', () => ({ historyId: 1.5 })],
    ['has a negative id', () => ({ historyId: '-7' })],
    ['has records of nothing', () => ({ historyId: '2000', history: [{ id: '1500', messagesAdded: [{}] }] })],
    ['is HTML inside', () => '<p>'],
  ])('that %s ends as an error, and moves nothing', async ([, page]) => {
    await world.sync(id);
    const before = (await world.connection(id))['history_id'];
    let n = 0;
    const body = (): string => JSON.stringify(page((n += 1)));
    world.gmail.inject({ path: /history$/, times: 999, fault: { kind: 'answer', status: 200, body } });
    const { failed } = await world.deliver(changed(id));
    expect(failed).toMatchObject([
      { retryable: true, reason: expect.stringContaining('GMAIL_ANSWER_INVALID') },
    ]);
    expect(Number((await world.connection(id))['history_id'])).toBeLessThanOrEqual(Number(before) + 1);
    expect(n).toBeLessThan(50);
  });

  test('of labels that are none changes no labels by them', async () => {
    const known = mailbox.deliver();
    await world.sync(id);
    const labelsAdded = [{ message: { id: known }, labelIds: ['\0', 7, 'STARRED', '\ud800'] }];
    const history = [{ id: mailbox.historyId.toString(), labelsAdded }];
    const body = { historyId: mailbox.historyId.toString(), history };
    world.gmail.inject({ path: /history$/, fault: answer(body) });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect((await world.messages(id))[0]?.labels).toEqual(['INBOX', 'UNREAD', 'STARRED']);
  });
});

describe('a token endpoint', () => {
  test.for([
    ['500', { kind: 'answer', status: 500 }],
    ['HTML', answer('<html>Welcome to the hotel</html>')],
    ['HTML and 400', { kind: 'answer', status: 400, body: '<html>no</html>' }],
    ['an empty object', answer('{}')],
    ['a token with a line break', answer({ access_token: 'a\r\nX-Evil: 1', expires_in: 3_600 })],
    ['a token that is good for nothing', answer({ access_token: 'ya29.x', expires_in: -1 })],
    ['half an answer', { kind: 'half' }],
  ] as const)(
    'that answers with %s pauses the group: no message and no grant is to blame',
    async ([, fault]) => {
      mailbox.fill(5);
      await world.db.pool.query('update app.mail_connections set access_token = null');
      world.gmail.inject({ path: /token/, times: 999, fault });
      await expect(world.deliver(changed(id))).rejects.toMatchObject({ kind: 'away', code: 'GMAIL_AWAY' });
      expect(await world.connection(id)).toMatchObject({ state: 'active' });
      expect(await logOf()).not.toMatch(/hotel|Evil|ya29/);
      world.gmail.heal();
      expect(await world.sync(id)).toEqual({ failed: [] });
      expect(await world.messages(id)).toHaveLength(5);
      expect((await topics(world))['mail.message']).toBeUndefined();
    },
  );

  test('that breaks between two pages of a sync blames no message', async () => {
    await world.sync(id);
    for (let n = 0; n < 20; n += 1) mailbox.deliver();
    world.gmail.inject({ path: /token/, times: 99, fault: { kind: 'answer', status: 400, body: '<html>' } });
    world.gmail.inject({ path: /messages\//, times: 999, fault: { kind: 'answer', status: 401 } });
    await expect(world.deliver(changed(id))).rejects.toMatchObject({ code: 'GMAIL_AWAY' });
    expect((await topics(world))['mail.message']).toBeUndefined();
    world.gmail.heal();
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toHaveLength(20);
  });

  test('that hands out a token for ever is asked again within a day', async () => {
    await world.db.pool.query('update app.mail_connections set access_token = null');
    world.gmail.inject({ path: /token/, fault: answer({ access_token: 'ya29.unknown', expires_in: 1e300 }) });
    expect(await world.sync(id)).toEqual({ failed: [] });
    const expiry = (await world.connection(id))['access_token_expires_at'] as Date;
    expect(expiry.getTime()).toBeLessThan(Date.now() + 2 * 24 * 3_600_000);
  });

  test('that reduces the grant to metadata has messages stored without their text', async () => {
    mailbox.deliver({ subject: 'private' });
    const scope = 'https://www.googleapis.com/auth/gmail.metadata';
    await world.db.pool.query('update app.mail_connections set access_token_expires_at = now()');
    const { accessToken } = await tokenOf(mailbox);
    world.gmail.inject({
      path: /token/,
      fault: answer({ access_token: accessToken, expires_in: 3_600, scope }),
    });
    const fault = { kind: 'error', status: 403, reason: 'insufficientPermissions' } as const;
    world.gmail.inject({ path: /messages\//, times: 1, fault });
    expect(await world.sync(id)).toEqual({ failed: [] });
    expect(await world.messages(id)).toMatchObject([{ subject: 'private', text: null }]);
    expect(await world.connection(id)).toMatchObject({ state: 'active', scopes: [scope] });
    mailbox.deliver();
    world.gmail.forgetRequests();
    await world.sync(id);
    expect(world.gmail.requestsTo(/messages\//).map(({ search }) => search.get('format'))).toEqual([
      'metadata',
    ]);
  });
});

describe('patience that is asked for', () => {
  test.for(['9'.repeat(300), '99999999999', 'Fri, 31 Dec 9999 23:59:59 GMT'])(
    'is an hour at most (%#)',
    async (retryAfter) => {
      const headers = { 'retry-after': retryAfter };
      world.gmail.inject({ path: /profile/, times: 9, fault: { kind: 'answer', status: 503, headers } });
      await expect(world.deliver(changed(id))).rejects.toMatchObject({
        kind: 'away',
        retryAfterMs: 3_600_000,
      });
    },
  );
});

test('a mailbox that never answers keeps no other one waiting', async () => {
  const well = await another();
  world.gmail.inject({ path: /./, email: mailbox.email, times: 99, fault: { kind: 'silence' } });
  const mail = world.another({ timeoutMs: 200 });
  const { failed } = await world.deliver(changed(id, well), { mail });
  expect(failed).toMatchObject([{ retryable: true, reason: expect.stringContaining('no answer in time') }]);
  const alone = await world.deliver(changed(id), { mail });
  expect(alone.failed).toHaveLength(1);
});

test('a profile whose count is none is as good as any', async () => {
  mailbox.fill(3);
  const body = { emailAddress: mailbox.email, historyId: mailbox.historyId.toString(), messagesTotal: 1e30 };
  world.gmail.inject({ path: /profile/, fault: answer(body) });
  expect(await world.sync(id)).toEqual({ failed: [] });
  expect(await world.messages(id)).toHaveLength(3);
});

test('a watch that lives for ever is renewed within the seven days, and one that is none stops no other', async () => {
  const well = await another();
  world.gmail.inject({
    path: /watch$/,
    email: mailbox.email,
    fault: answer({ historyId: '1', expiration: '9'.repeat(20) }),
  });
  const options = {
    mail: world.mail,
    topic: 'projects/p/topics/t',
    renewBufferMs: 3_600_000,
    silentMs: 3_600_000,
  };
  const context = { signal: new AbortController().signal, progress: (): void => undefined };
  const log = createLogger({ worker: 'test', destination: { write: () => undefined } });
  expect(await keepMailboxes({ ...options, log }, context)).toMatchObject({ renewed: 2, failed: 0 });
  const week = Date.now() + 7 * 24 * 3_600_000;
  for (const one of [id, well]) {
    const expiry = (await world.connection(one))['watch_expires_at'] as Date;
    expect(Math.abs(expiry.getTime() - week)).toBeLessThan(600_000);
  }
  await world.db.pool.query('update app.mail_connections set watch_expires_at = null');
  world.gmail.inject({ path: /watch$/, email: mailbox.email, fault: answer({ historyId: 'x' }) });
  expect(await keepMailboxes({ ...options, log }, context)).toMatchObject({ renewed: 1, failed: 1 });
});

test('a notification of an id that Google knows nothing of does not silence the mailbox', async () => {
  await world.sync(id);
  const notify = async (historyId: bigint): Promise<number> =>
    await transaction(world.db.pool, async (client) => {
      const { changed: count } = await recordNotifications(client, [
        { emailAddress: mailbox.email, historyId },
      ]);
      return count;
    });
  expect(await notify(2n ** 64n - 1n)).toBe(1);
  await world.sync(id);
  mailbox.deliver();
  expect(await notify(mailbox.historyId)).toBe(1);
  expect(await notify(mailbox.historyId)).toBe(0);
  await world.sync(id);
  expect(await notify(mailbox.historyId)).toBe(0);
});

async function tokenOf({ refreshToken }: GmailStandInMailbox): Promise<{ accessToken: string }> {
  const response = await fetch(`${world.gmail.url}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      client_id: world.gmail.clientId,
      client_secret: world.gmail.clientSecret,
    }),
  });
  return { accessToken: ((await response.json()) as { access_token: string }).access_token };
}

function part(contentType: string, bytes: Buffer): unknown {
  return {
    mimeType: 'text/plain',
    headers: [{ name: 'Content-Type', value: contentType }],
    body: { data: bytes.toString('base64url') },
  };
}

function nested(depth: number): unknown {
  let inner = part('text/plain', Buffer.from('deep'));
  for (let n = 0; n < depth; n += 1) inner = { mimeType: 'multipart/mixed', parts: [inner] };
  return inner;
}

/** Ids that nobody has listed before. */
function thousand(page: number): unknown[] {
  return Array.from({ length: 1_000 }, (_, n) => ({ id: `id-${page}-${n}` }));
}

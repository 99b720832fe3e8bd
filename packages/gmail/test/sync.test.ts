// What a sync stores and tells of, from a mailbox that changes.

import { expect, test } from 'vitest';
import type { GmailStandInMailbox } from '@pulsebox/test-support';
import { emitted } from './connected.ts';
import { eachWithMailbox, topics } from './mail-world.ts';
import type { MailWorld } from './mail-world.ts';

let world: MailWorld;
let mailbox: GmailStandInMailbox;
let connectionId: string;

eachWithMailbox((own) => {
  ({ world, mailbox, id: connectionId } = own);
});

async function forgetEvents(): Promise<void> {
  await world.db.pool.query('truncate outbox.event');
}

test('reads a new mailbox in full, tells search of each message, and its user of none', async () => {
  mailbox.fill(250, (n) => ({ subject: `mail ${n}`, text: `text ${n}` }));
  expect(await world.sync(connectionId)).toEqual({ failed: [] });

  const stored = await world.messages(connectionId);
  expect(stored.map(({ subject }) => subject)).toEqual(Array.from({ length: 250 }, (_, n) => `mail ${n}`));
  expect(stored[7]).toMatchObject({
    sender: 'Grace Hopper <grace@example.org>',
    text: 'text 7',
    deleted: false,
  });
  const upserted = await emitted(world.db.pool, 'item.upserted');
  expect(new Set(upserted.map(({ payload }) => payload['mail_id']))).toEqual(
    new Set(stored.map((row) => row.mail_id)),
  );
  expect(await topics(world)).toEqual({ 'item.upserted': 250, 'mail.changed': 1 });
  expect(await world.connection(connectionId)).toMatchObject({
    history_id: mailbox.historyId.toString(),
    full_sync_base: null,
    full_sync_counted: '200',
    last_full_sync_at: expect.any(Date),
    last_synced_at: expect.any(Date),
  });
});

test('reads only what has changed afterwards, and tells the user of new mail in the inbox', async () => {
  mailbox.fill(3);
  await world.sync(connectionId);
  await forgetEvents();
  world.gmail.forgetRequests();
  const id = mailbox.deliver({ subject: 'Lunch?', from: '"Bob" <bob@example.org>', text: 'At noon.' });
  await world.deliver([
    {
      topic: 'mail.changed',
      payload: { connection_id: connectionId, history_id: mailbox.historyId.toString() },
    },
  ]);

  const row = (await world.messages(connectionId)).find(({ gmail_id }) => gmail_id === id);
  expect(row).toMatchObject({ subject: 'Lunch?', text: 'At noon.', labels: ['INBOX', 'UNREAD'] });
  expect(world.gmail.requests.map(({ path }) => path.split('/me/')[1])).toEqual([
    'history',
    `messages/${id}`,
  ]);
  const events = await emitted(world.db.pool);
  expect(events.map(({ topic }) => topic)).toEqual(['item.upserted', 'push.requested']);
  expect(events[0]).toMatchObject({ key: `mail:${row!.mail_id}`, payload: { mail_id: row!.mail_id } });
  expect(events[1]).toEqual({
    topic: 'push.requested',
    key: 'user:ada',
    payload: {
      user_id: 'ada',
      payload: {
        title: 'Bob',
        body: 'Lunch?',
        tag: `mail:${id}`,
        data: { mail_id: row!.mail_id, connection_id: connectionId, thread_id: id },
      },
    },
  });
});

test('does not ask Google for what it has read already', async () => {
  mailbox.deliver();
  await world.sync(connectionId);
  world.gmail.forgetRequests();
  for (const historyId of [mailbox.historyId, mailbox.historyId - 1n, 5n]) {
    const payload = { connection_id: connectionId, history_id: historyId.toString() };
    expect(await world.deliver([{ topic: 'mail.changed', payload }])).toEqual({ failed: [] });
  }
  expect(world.gmail.requests).toEqual([]);
});

test('folds a burst of events into one sync of each mailbox', async () => {
  const other = world.gmail.mailbox(`bob-beside-${mailbox.email}`);
  const otherId = await world.connect(other, 'bob');
  await world.sync(connectionId);
  await world.sync(otherId);
  mailbox.deliver();
  other.deliver();
  world.gmail.forgetRequests();
  await world.deliver(
    Array.from({ length: 500 }, (_, n) => ({
      topic: 'mail.changed',
      payload: {
        connection_id: n % 2 === 0 ? connectionId : otherId,
        history_id: String((n % 2 === 0 ? mailbox : other).historyId),
      },
    })),
  );
  expect(world.gmail.requestsTo(/history$/)).toHaveLength(2);
});

test('follows labels without fetching, and archives what is gone', async () => {
  const [kept, lost, spam] = [mailbox.deliver(), mailbox.deliver(), mailbox.deliver()];
  await world.sync(connectionId);
  await forgetEvents();
  world.gmail.forgetRequests();
  mailbox.label(kept, { add: ['STARRED'], remove: ['UNREAD'] });
  mailbox.label(spam, { add: ['SPAM'], remove: ['INBOX'] });
  mailbox.label(lost, { add: ['STARRED'] });
  mailbox.remove(lost);
  await world.sync(connectionId);

  const stored = new Map((await world.messages(connectionId)).map((row) => [row.gmail_id, row]));
  expect(stored.get(kept)).toMatchObject({ labels: ['INBOX', 'STARRED'], deleted: false });
  expect(stored.get(spam)).toMatchObject({ labels: ['UNREAD', 'SPAM'], deleted: false });
  expect(stored.get(lost)).toMatchObject({ deleted: true });
  expect(world.gmail.requestsTo(/messages/)).toEqual([]);
  expect(await topics(world)).toEqual({ 'item.upserted': 2, 'item.archived': 1 });
});

test('passes over a message that came and went before it was looked at', async () => {
  await world.sync(connectionId);
  await forgetEvents();
  const id = mailbox.deliver();
  mailbox.remove(id);
  expect(await world.sync(connectionId)).toEqual({ failed: [] });
  expect(await world.messages(connectionId)).toEqual([]);
  expect(await topics(world)).toEqual({});
});

test('keeps a message that went and came back before it was looked at', async () => {
  const id = mailbox.deliver({ subject: 'Back again' });
  await world.sync(connectionId);
  await forgetEvents();
  const historyId = mailbox.historyId + 14n;
  const change = { message: { id, threadId: id, labelIds: ['INBOX'] } };
  const history = [
    { id: String(historyId - 7n), messagesDeleted: [change] },
    { id: String(historyId), messagesAdded: [change] },
  ];
  const body = JSON.stringify({ history, historyId: String(historyId) });
  world.gmail.inject({ path: /history/, fault: { kind: 'answer', status: 200, body } });
  expect(await world.sync(connectionId)).toEqual({ failed: [] });
  expect(await world.messages(connectionId)).toMatchObject([{ subject: 'Back again', deleted: false }]);
  expect(await topics(world)).not.toHaveProperty('item.archived');
});

test('pages through a long history, and each page moves the stored id', async () => {
  await world.sync(connectionId);
  await forgetEvents();
  for (let n = 0; n < 350; n += 1) mailbox.deliver({ subject: `mail ${n}`, labels: ['SENT'] });
  const seen: string[] = [];
  await world.sync(connectionId, {
    progress: () =>
      void world.connection(connectionId).then(({ history_id }) => seen.push(String(history_id))),
  });
  expect(world.gmail.requestsTo(/history$/).filter(({ search }) => search.has('pageToken'))).toHaveLength(3);
  expect(await world.messages(connectionId)).toHaveLength(350);
  expect((await world.connection(connectionId))['history_id']).toBe(mailbox.historyId.toString());
  expect(new Set(seen).size).toBeGreaterThan(1);
  expect(await topics(world)).toEqual({ 'item.upserted': 350 });
});

test.for([
  ['sent by the user', { labels: ['SENT'] }],
  ['spam', { labels: ['SPAM', 'UNREAD'] }],
  ['filed away by a filter', { labels: ['UNREAD', 'Label_7'] }],
  ['old, and imported today', { date: new Date('2020-01-01') }],
] as const)('tells nobody of mail that is %s', async ([, mail]) => {
  await world.sync(connectionId);
  await forgetEvents();
  mailbox.deliver(mail);
  await world.sync(connectionId);
  expect(await topics(world)).toEqual({ 'item.upserted': 1 });
});

test('tells nobody who does not wish it, and everybody only once', async () => {
  await world.sync(connectionId);
  mailbox.deliver();
  await world.sync(connectionId);
  mailbox.forgetHistory();
  await world.sync(connectionId);
  expect((await topics(world))['push.requested']).toBe(1);
  await world.db.pool.query('update app.mail_connections set notify = false');
  mailbox.deliver();
  await world.sync(connectionId);
  expect((await topics(world))['push.requested']).toBe(1);
});

test('tells nobody of mail that was there before, and is taken out of spam', async () => {
  const id = mailbox.deliver({ labels: ['SPAM', 'UNREAD'] });
  await world.sync(connectionId);
  expect(await world.messages(connectionId)).toEqual([]);
  await forgetEvents();
  mailbox.label(id, { add: ['INBOX'], remove: ['SPAM'] });
  mailbox.deliver({ subject: 'new' });
  await world.sync(connectionId);
  expect(await topics(world)).toEqual({ 'item.upserted': 2, 'push.requested': 1 });
});

test('stores whatever people write to each other', async () => {
  const id = mailbox.deliver({
    subject: 'zero \0 and half a pair \ud800',
    text: '\0'.repeat(10) + 'é'.repeat(200_000),
    raw: { snippet: 'Tom &amp; Jerry&#39;s &lt;b&gt;' },
  });
  const html = mailbox.deliver({
    html: '<html><head><title>no</title></head><style>p{}</style><p>Caf&eacute; &amp; <b>bar</b></p></html>',
  });
  await world.sync(connectionId);
  const stored = new Map((await world.messages(connectionId)).map((row) => [row.gmail_id, row]));
  expect(stored.get(id)?.subject).toBe('zero   and half a pair \ufffd');
  expect(stored.get(id)?.text).toHaveLength(100_000);
  expect(stored.get(html)?.text).toBe('Caf&eacute; & bar');
});

test('never changes anything in a mailbox', async () => {
  mailbox.fill(20);
  await world.sync(connectionId);
  const id = mailbox.deliver();
  mailbox.label(id, { add: ['STARRED'] });
  mailbox.remove(id);
  await world.sync(connectionId);
  expect(new Set(world.gmail.requestsTo(/gmail/).map(({ method }) => method))).toEqual(new Set(['GET']));
});

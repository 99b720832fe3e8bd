// Reading a whole mailbox: in slices, cut off, fenced, again after the history is gone.

import { beforeEach, expect, test } from 'vitest';
import type { GmailStandInMailbox } from '@pulsebox/test-support';
import type { JsonValue } from '@pulsebox/outbox';
import { emitted } from './connected.ts';
import { eachWithMailbox, topics } from './mail-world.ts';
import type { MailWorld } from './mail-world.ts';

let world: MailWorld;
let mailbox: GmailStandInMailbox;
let id: string;

eachWithMailbox((own) => {
  ({ world, mailbox, id } = own);
});
beforeEach(async () => {
  await world.db.pool.query('truncate outbox.event');
});

const NOTHING_LONGER = { sliceMs: 0, concurrency: 1 };

async function continuations(): Promise<JsonValue[]> {
  const events = await emitted(world.db.pool, 'mail.changed');
  return events.map(({ payload }) => payload as JsonValue);
}

/** One slice of one page: time is over before the first is stored. */
async function slice(payload: JsonValue = { connection_id: id }): Promise<void> {
  await world.deliver([{ topic: 'mail.changed', payload }], NOTHING_LONGER);
}

test('hands on to itself page by page, and fetches no message twice', async () => {
  mailbox.fill(450);
  await slice();
  expect(await world.messages(id)).toHaveLength(100);
  expect(await world.connection(id)).toMatchObject({ full_sync_counted: '100', full_sync_total: '450' });
  expect(await continuations()).toEqual([{ connection_id: id, continuation: '1' }]);
  await slice({ connection_id: id, continuation: '1' });
  expect(await world.messages(id)).toHaveLength(200);
  // A batch that is delivered again: what it handed on to has gone further already.
  world.gmail.forgetRequests();
  await slice({ connection_id: id, continuation: '1' });
  expect(world.gmail.requests).toEqual([]);

  await world.sync(id, NOTHING_LONGER);
  expect(await world.messages(id)).toHaveLength(450);
  expect((await topics(world))['item.upserted']).toBe(450);
  expect(await world.connection(id)).toMatchObject({
    full_sync_base: null,
    full_sync_page: null,
    history_id: mailbox.historyId.toString(),
  });
});

test('goes on with what is left when its pages have expired', async () => {
  mailbox.fill(250);
  await slice();
  mailbox.expirePages();
  world.gmail.forgetRequests();
  await world.sync(id);
  expect(await world.messages(id)).toHaveLength(250);
  expect(world.gmail.requestsTo(/messages\/./)).toHaveLength(150);
});

test('misses nothing that changes while it lists, and tells the user of what came meanwhile', async () => {
  mailbox.fill(150);
  const gone = mailbox.deliver({ subject: 'soon gone' });
  await slice();
  const came = mailbox.deliver({ subject: 'came meanwhile' });
  mailbox.remove(gone);
  await world.sync(id);
  const stored = await world.messages(id);
  expect(stored.find(({ gmail_id }) => gmail_id === came)).toMatchObject({ deleted: false });
  expect(stored.find(({ gmail_id }) => gmail_id === gone)).toMatchObject({ deleted: true });
  const pushes = await emitted(world.db.pool, 'push.requested');
  expect(pushes.map(({ payload }) => (payload['payload'] as { body: string }).body)).toEqual([
    'came meanwhile',
  ]);
});

test('begins when the history is gone: finds what is new, drops what is not there, tells nobody', async () => {
  const kept = mailbox.deliver({ subject: 'kept' });
  const lost = mailbox.deliver({ subject: 'lost' });
  await world.sync(id);
  await world.db.pool.query('truncate outbox.event');
  const before = BigInt(String((await world.connection(id))['history_id']));
  mailbox.remove(lost);
  mailbox.label(kept, { add: ['STARRED'] });
  mailbox.deliver({ subject: 'unheard of' });
  mailbox.forgetHistory();
  expect(await world.sync(id)).toEqual({ failed: [] });

  const stored = await world.messages(id);
  expect(stored.map(({ subject, deleted }) => [subject, deleted])).toEqual([
    ['kept', false],
    ['lost', true],
    ['unheard of', false],
  ]);
  expect(stored[0]?.labels).toContain('STARRED');
  // What has not changed is not indexed again.
  expect(await topics(world)).toEqual({ 'item.upserted': 2, 'item.archived': 1 });
  expect(BigInt(String((await world.connection(id))['history_id']))).toBeGreaterThan(before);
  await world.db.pool.query('truncate outbox.event');
  mailbox.forgetHistory();
  await world.sync(id);
  expect(await topics(world)).toEqual({});
});

test('stores nothing more once another has the mailbox, which then reads the rest', async () => {
  mailbox.fill(300);
  const name = `mail/sync/${id}`;
  let isTaken = false;
  const { failed } = await world.deliver([{ topic: 'mail.changed', payload: { connection_id: id } }], {
    progress: () => {
      if (isTaken || world.gmail.requestsTo(/messages\/./).length < 150) return;
      isTaken = true;
      void world.db.pool.query(
        `update pulsebox.lease set token = token + 1, holder = 'thief' where name = $1`,
        [name],
      );
    },
  });
  expect(failed).toMatchObject([{ retryable: true, reason: expect.stringContaining('GMAIL_SYNC_FENCED') }]);
  expect((await world.messages(id)).length).toBeLessThan(300);
  await world.db.pool.query(`update pulsebox.lease set holder = null, expires_at = null where name = $1`, [
    name,
  ]);
  expect(await world.sync(id)).toEqual({ failed: [] });
  expect(await world.messages(id)).toHaveLength(300);
});

test('two that are asked to at the same time take turns', async () => {
  mailbox.fill(200);
  const one = { topic: 'mail.changed', payload: { connection_id: id } };
  const outcomes = await Promise.all([world.deliver([one]), world.deliver([one], { holder: 'other' })]);
  expect(outcomes).toEqual([{ failed: [] }, { failed: [] }]);
  expect(world.gmail.requestsTo(/messages\/./)).toHaveLength(200);
  expect((await topics(world))['item.upserted']).toBe(200);
});

test('stops at once when it is told to, and what was stored stays', async () => {
  mailbox.fill(300);
  const stop = new AbortController();
  const delivery = world.deliver([{ topic: 'mail.changed', payload: { connection_id: id } }], {
    signal: stop.signal,
    progress: () => {
      if (world.gmail.requestsTo(/messages\/./).length >= 150) stop.abort(new Error('drained'));
    },
  });
  await expect(delivery).rejects.toThrow('drained');
  expect(await world.messages(id)).toHaveLength(100);
  await world.sync(id);
  expect(await world.messages(id)).toHaveLength(300);
});

test('reads metadata only where the grant allows no more', async () => {
  await world.db.pool.query(
    `update app.mail_connections set scopes = '{https://www.googleapis.com/auth/gmail.metadata}'`,
  );
  mailbox.deliver({ subject: 'private', text: 'not for us' });
  await world.sync(id);
  expect(await world.messages(id)).toMatchObject([{ subject: 'private', text: null }]);
  expect(world.gmail.requestsTo(/messages\/./)[0]?.search.get('format')).toBe('metadata');
});

test('stays below the quota of its mailbox from slice to slice', async () => {
  mailbox.fill(290);
  // A sixth of it may be spent at once. Slices that each began with a full bucket would never have to wait.
  const mail = world.another({ unitsPerMinute: { mailbox: 6_000, project: 1e9 } });
  const startMs = performance.now();
  await world.sync(id, { ...NOTHING_LONGER, mail });
  const seconds = (performance.now() - startMs) / 1_000;
  const spent = world.gmail.requestsTo(/messages/).length * 5;
  expect(await world.messages(id)).toHaveLength(290);
  expect(spent).toBeLessThanOrEqual(1_000 + 50 + (5_000 / 60) * seconds);
});

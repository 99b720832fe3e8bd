// What becomes of the rows of messages that went from their mailbox.

import { expect, test } from 'vitest';
import { keepMailboxes } from '@pulsebox/gmail';
import { createLogger } from '@pulsebox/loop';
import { eachWithMailbox, topics } from './mail-world.ts';
import type { OwnMailbox } from './mail-world.ts';

const DAY_MS = 86_400_000;
const quiet = createLogger({ worker: 'test', level: 'silent' });

let own: OwnMailbox;

eachWithMailbox((given) => {
  own = given;
});

async function keep(keepDeletedMs?: number): Promise<number> {
  const options = { mail: own.world.mail, topic: undefined, renewBufferMs: DAY_MS, silentMs: 365 * DAY_MS };
  const { removed } = await keepMailboxes(
    { ...options, log: quiet, ...(keepDeletedMs === undefined ? {} : { keepDeletedMs }) },
    { signal: new AbortController().signal, progress: () => undefined },
  );
  return removed;
}

/** Adds rows as a sync leaves them; those with days went so long ago. */
async function rows(...days: readonly (number | null)[]): Promise<void> {
  await own.world.db.pool.query(
    `insert into app.mail_messages (connection_id, gmail_id, thread_id, sent_at, deleted_at)
     select $1, 'row' || n, 't', now() - interval '90 days', now() - day * interval '1 day'
     from unnest($2::float8[]) with ordinality as d(day, n)`,
    [own.id, days],
  );
}

async function left(): Promise<string[]> {
  return (await own.world.messages(own.id)).map(({ gmail_id: gmailId }) => gmailId);
}

test('removes those that went long ago, and neither those that went lately nor those that are there', async () => {
  await rows(31, 29, null, 400);
  expect(await keep()).toBe(2);
  expect(await left()).toEqual(['row2', 'row3']);
  expect(await keep()).toBe(0);
  expect(await keep(28 * DAY_MS)).toBe(1);
});

test('removes in pages until there are no more', async () => {
  await rows(...Array.from({ length: 1_200 }, () => 40), null);
  expect(await keep()).toBe(1_200);
  expect(await left()).toEqual(['row1201']);
});

/** As after a restore: what has been read is forgotten, which a trigger prevents otherwise. */
async function readTo(historyId: bigint | null): Promise<void> {
  const { pool } = own.world.db;
  await pool.query('alter table app.mail_connections disable trigger keep_history_id');
  await pool.query('update app.mail_connections set history_id = $2 where connection_id = $1', [
    own.id,
    historyId?.toString(),
  ]);
  await pool.query('alter table app.mail_connections enable trigger keep_history_id');
}

test('a message whose row was removed stays gone, whether its history or a full sync comes by again', async () => {
  const { world, mailbox, id } = own;
  await world.sync(id);
  const start = mailbox.historyId;
  const gone = mailbox.deliver({ subject: 'gone' });
  const kept = mailbox.deliver({ subject: 'kept' });
  await world.sync(id);
  mailbox.remove(gone);
  await world.sync(id);
  await world.db.pool.query(
    `update app.mail_messages set deleted_at = now() - interval '31 days' where deleted_at is not null`,
  );
  expect(await keep()).toBe(1);
  const before = await topics(world);
  for (const [historyId, asked] of [
    [start, /history$/],
    [null, /messages$/],
  ] as const) {
    await readTo(historyId);
    const asks = world.gmail.requestsTo(asked).length;
    await world.sync(id);
    expect(world.gmail.requestsTo(asked).length).toBeGreaterThan(asks);
    expect(await left()).toEqual([kept]);
  }
  expect((await topics(world))['item.archived']).toBe(before['item.archived']);
});

// Watches, silent mailboxes and the gauges of all of them.

import { keepMailboxes, mailboxGauges, mailUpkeep } from '@pulsebox/gmail';
import type { MailUpkeepReport } from '@pulsebox/gmail';
import { openJobs } from '@pulsebox/jobs';
import type { Loop } from '@pulsebox/loop';
import { createLogger } from '@pulsebox/loop';
import { eventually } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { emitted } from './connected.ts';
import { eachInWorld, topics } from './mail-world.ts';
import type { MailWorld } from './mail-world.ts';

const TOPIC = 'projects/p/topics/mail';
const HOUR_MS = 3_600_000;

let world: MailWorld;
let emails = 0;

eachInWorld((given) => {
  world = given;
});

const quiet = createLogger({ worker: 'test', level: 'silent' });

async function keep(options: { topic?: string; silentMs?: number } = {}): Promise<MailUpkeepReport> {
  const { topic = TOPIC, silentMs = HOUR_MS } = options;
  return await keepMailboxes(
    { mail: world.mail, topic, renewBufferMs: 12 * HOUR_MS, silentMs, log: quiet },
    { signal: new AbortController().signal, progress: () => undefined },
  );
}

async function connectOne(user = 'ada') {
  emails += 1;
  const mailbox = world.gmail.mailbox(`watch-${emails}@example.com`);
  return { mailbox, id: await world.connect(mailbox, user) };
}

async function expireIn(id: string, hours: number): Promise<void> {
  await world.db.pool.query(
    `update app.mail_connections set watch_expires_at = now() + $2 * interval '1 hour' where connection_id = $1`,
    [id, hours],
  );
}

test('registers a missing watch, and leaves it alone until it is about to expire', async () => {
  const { mailbox, id } = await connectOne();
  expect(await keep()).toMatchObject({ renewed: 1, failed: 0 });
  expect(mailbox.watches).toMatchObject([{ topicName: TOPIC }]);
  expect(await world.connection(id)).toMatchObject({
    watch_topic: TOPIC,
    watch_expires_at: expect.any(Date),
  });
  expect(await keep()).toMatchObject({ renewed: 0 });
  await expireIn(id, 13);
  expect(await keep()).toMatchObject({ renewed: 0 });
  await expireIn(id, 11);
  expect(await keep()).toMatchObject({ renewed: 1 });
  expect(await keep({ topic: 'projects/p/topics/other' })).toMatchObject({ renewed: 1 });
  expect(mailbox.watches).toHaveLength(3);
});

test('has a mailbox synced that changed while nothing watched it', async () => {
  const { mailbox, id } = await connectOne();
  await world.sync(id);
  await keep();
  await world.db.pool.query('truncate outbox.event');
  await expireIn(id, -1);
  await keep();
  expect(await topics(world)).toEqual({});
  mailbox.deliver();
  await expireIn(id, -1);
  await keep();
  const payload = { connection_id: id, history_id: mailbox.historyId.toString() };
  expect(await emitted(world.db.pool)).toMatchObject([{ topic: 'mail.changed', payload }]);
});

test('goes on with the others when one fails, and says what is wrong with which', async () => {
  const all = await Promise.all(['a', 'b', 'c', 'd'].map((user) => connectOne(user)));
  const [revoked, broken, forbidden, well] = all;
  revoked!.mailbox.revoke();
  await world.db.pool.query(`update app.mail_connections set access_token = null where connection_id = $1`, [
    revoked!.id,
  ]);
  const path = /watch$/;
  world.gmail.inject({
    path,
    times: 9,
    email: broken!.mailbox.email,
    fault: { kind: 'answer', status: 500 },
  });
  const refusal = { kind: 'error', status: 403, reason: 'forbidden' } as const;
  world.gmail.inject({ path, email: forbidden!.mailbox.email, fault: refusal });

  expect(await keep()).toMatchObject({ renewed: 1, failed: 2, revoked: 1 });
  expect(well!.mailbox.watches).toHaveLength(1);
  expect(await world.connection(broken!.id)).toMatchObject({
    state: 'active',
    watch_error: expect.stringContaining('Google answered 500'),
  });
  expect(await world.connection(forbidden!.id)).toMatchObject({
    watch_error: expect.stringContaining('forbidden'),
  });
  expect(await world.connection(revoked!.id)).toMatchObject({
    state: 'revoked',
    state_reason: 'the grant has expired, was revoked, or the password was changed',
  });

  world.gmail.heal();
  world.gmail.forgetRequests();
  expect(await keep()).toMatchObject({ renewed: 2, failed: 0, revoked: 0 });
  expect(world.gmail.requestsTo(/token/)).toEqual([]);
  expect(await world.connection(broken!.id)).toMatchObject({ watch_error: null });
});

test('looks at mailboxes that were silent for long, once in that time', async () => {
  const { id } = await connectOne();
  const { id: fresh } = await connectOne('bob');
  await world.db.pool.query('truncate outbox.event');
  const long = `now() - interval '2 hours'`;
  await world.db.pool.query(
    `update app.mail_connections set created_at = ${long}, last_synced_at = ${long} where connection_id = $1`,
    [id],
  );
  expect((await keep()).asked).toBe(1);
  expect((await keep()).asked).toBe(0);
  const events = (await emitted(world.db.pool)).filter(({ payload }) => payload['history_id'] === undefined);
  expect(events).toMatchObject([{ topic: 'mail.changed', payload: { connection_id: id } }]);
  expect(await world.connection(fresh)).toMatchObject({ fallback_at: null });
});

test('runs as a scheduled job, at once and then by the clock', async () => {
  const { mailbox } = await connectOne();
  const jobs = openJobs({ pool: world.db.pool, log: quiet });
  const loop = mailUpkeep({
    mail: world.mail,
    jobs,
    topic: TOPIC,
    renewBufferMs: 12 * HOUR_MS,
    silentMs: HOUR_MS,
    log: quiet,
  });
  await turn(loop);
  await eventually(() => mailbox.watches.length === 1);
  const { rows } = await world.db.pool.query(`select name, cron from pgboss.schedule`);
  expect(rows).toEqual([{ name: 'mail/upkeep', cron: '*/5 * * * *' }]);
  await jobs.stop();
});

test('has one process of all set the gauges', async () => {
  const { id } = await connectOne();
  await connectOne('bob');
  await world.db.pool.query(`update app.mail_connections set state = 'revoked' where connection_id = $1`, [
    id,
  ]);
  await keep();
  const metrics = world.mail.metrics!;
  // `worker` has these families as well, and never sets them: a 0 would read as a watch that ends now.
  expect(await world.registry.metrics()).not.toMatch(/^gmail_(?:watch_expiry|unwatched|oldest_sync)\w* /m);
  const gauges = mailboxGauges({ pool: world.db.pool, metrics, holder: 'one' });
  await turn(gauges);
  const text = await world.registry.metrics();
  expect(text).toContain('gmail_connections{state="active"} 1');
  expect(text).toContain('gmail_connections{state="revoked"} 1');
  expect(text).toContain('gmail_unwatched_connections 0');
  expect(text).toMatch(/gmail_watch_expiry_seconds 6047\d\d/);

  const another = mailboxGauges({ pool: world.db.pool, metrics, holder: 'another' });
  await turn(another);
  expect(await world.registry.metrics()).not.toMatch(/^gmail_connections\{/m);
  await gauges.stop!();
  await turn(another);
  expect(await world.registry.metrics()).toContain('gmail_connections{state="active"} 1');
  await another.stop!();
});

test('misses no watch where none is wanted', async () => {
  await connectOne();
  const metrics = world.mail.metrics!;
  const wanted = mailboxGauges({ pool: world.db.pool, metrics, holder: 'one' });
  await turn(wanted);
  expect(await world.registry.metrics()).toContain('gmail_unwatched_connections 1');
  await wanted.stop!();
  const unwanted = mailboxGauges({ pool: world.db.pool, metrics, holder: 'one', watching: false });
  await turn(unwanted);
  expect(await world.registry.metrics()).toContain('gmail_unwatched_connections 0');
  await unwanted.stop!();
});

async function turn(loop: Loop): Promise<void> {
  const { signal } = new AbortController();
  await loop.tick({ signal, stopping: signal, progress: () => undefined, log: quiet });
}

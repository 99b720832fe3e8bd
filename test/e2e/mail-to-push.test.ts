// The whole way, with all three workers as processes: a mail arrives at Gmail, Pub/Sub tells of it, a browser shows its
// subject, and a search finds it. Then the same with each worker killed, or frozen, at its worst moment. With Google's
// emulator of Pub/Sub where it is on the machine, and with the stand-in.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import { generateVapidKeys, subscribe } from '@pulsebox/push';
import { createSearch, shippedProjections } from '@pulsebox/search';
import {
  createTestDatabase,
  eventually,
  findPubSubEmulator,
  freePort,
  runProgram,
  startGmailStandIn,
  startPubSubEmulator,
  startPubSubStandIn,
  startPushService,
} from '@pulsebox/test-support';
import type {
  GmailStandIn,
  GmailStandInMailbox,
  Program,
  PushService,
  TestDatabase,
} from '@pulsebox/test-support';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';

/**
 * Three processes beside whatever else the machine does. The emulator hands what a dead worker held to any stream, dead
 * ones included, after each 10 s: a matter of luck.
 */
const PATIENCE_MS = 240_000;

const PROJECT = 'acme-mail';
const TOPIC = `projects/${PROJECT}/topics/gmail`;
const APPS = ['worker', 'push-worker', 'watch-worker'] as const;
type App = (typeof APPS)[number];

interface PubSubServer {
  readonly host: string;
  /** The emulator takes them all. */
  ignoreAcknowledgements?(ignore: boolean): void;
  close(): Promise<void>;
}

const jar = findPubSubEmulator();
const servers: readonly (readonly [string, () => Promise<PubSubServer>])[] = [
  ...(jar === undefined
    ? []
    : ([["Google's emulator", async () => await startPubSubEmulator(jar)]] as const)),
  ['the stand-in', async () => await startPubSubStandIn()],
];

const vapid = generateVapidKeys();
let db: TestDatabase;
let gmail: GmailStandIn;
let mailbox: GmailStandInMailbox;
let pubsub: PubSubServer;
let pubsubClient: PubSub;
let pushService: PushService;
let folder: string;
let env: Record<string, string>;
let running: Map<App, Program>;
let started: Program[];

async function setUp(startPubSub: () => Promise<PubSubServer>): Promise<void> {
  [db, gmail, pubsub, pushService] = await Promise.all([
    createTestDatabase(inject('serverUrl')),
    startGmailStandIn(),
    startPubSub(),
    startPushService(),
  ]);
  folder = await mkdtemp(join(tmpdir(), 'pulsebox-mail-'));
  await writeFile(join(folder, 'ca.pem'), pushService.ca);
  pubsubClient = new PubSub({
    projectId: PROJECT,
    apiEndpoint: pubsub.host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  const [topic] = await pubsubClient.createTopic('gmail');
  await topic.createSubscription('mail-changes');
  // Gmail's part: whatever changes in a mailbox that is watched is published.
  gmail.onNotification(({ emailAddress, historyId }) => {
    void topic.publishMessage({ json: { emailAddress, historyId: Number(historyId) } });
  });
  const encryptionKey = randomBytes(32).toString('base64');
  env = {
    DATABASE_URL: db.url,
    LOG_LEVEL: 'debug',
    OUTBOX_LEASE_SECONDS: '2',
    GMAIL_CLIENT_ID: gmail.clientId,
    GMAIL_CLIENT_SECRET: gmail.clientSecret,
    GMAIL_API_BASE: gmail.url,
    ENCRYPTION_KEY: encryptionKey,
    GMAIL_PUBSUB_PROJECT_ID: PROJECT,
    GMAIL_PUBSUB_TOPIC: 'gmail',
    GMAIL_PUBSUB_SUBSCRIPTION: 'mail-changes',
    PUBSUB_EMULATOR_HOST: pubsub.host,
    VAPID_PUBLIC_KEY: vapid.publicKey,
    VAPID_PRIVATE_KEY: vapid.privateKey,
    VAPID_SUBJECT: 'mailto:push@pulsebox.example',
    PUSH_PRIVATE_ORIGINS: pushService.origin,
    NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
  };
  mailbox = gmail.mailbox('ada@example.com');
  const mail = createMail({
    pool: db.pool,
    clientId: gmail.clientId,
    clientSecret: gmail.clientSecret,
    apiBase: gmail.url,
    encryptionKey,
  });
  await connectMailbox(mail, {
    userId: 'ada',
    orgId: 'acme',
    grant: { refreshToken: mailbox.refreshToken },
    signal: AbortSignal.timeout(10_000),
  });
  const browser = pushService.subscribe();
  await subscribe(db.pool, { userId: 'ada', ...browser }, { privateOrigins: [pushService.origin] });
  running = new Map();
  started = [];
}

async function tearDown(): Promise<void> {
  for (const worker of started) worker.kill('SIGKILL');
  await Promise.all(started.map(({ exited }) => exited));
  await pubsubClient.close();
  await Promise.all([gmail.close(), pubsub.close(), pushService.close()]);
  await db.drop();
  await rm(folder, { recursive: true });
}

async function start(app: App): Promise<Program> {
  const port = await freePort();
  const worker = runProgram(`apps/${app}/src/index.ts`, {
    args: ['--loop'],
    env: {
      ...env,
      WORKER_HEALTH_PORT: String(port),
      PUSH_WORKER_HEALTH_PORT: String(port),
      WATCH_WORKER_HEALTH_PORT: String(port),
    },
  });
  running.set(app, worker);
  started.push(worker);
  const ended = worker.exited.then(() => {
    throw new Error(`${app} has ended: ${worker.output()}`);
  });
  const ready = eventually(
    () =>
      fetch(`http://127.0.0.1:${port}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
    { withinMs: PATIENCE_MS, message: `${app} is not ready` },
  );
  // Whichever comes second is of no interest.
  ended.catch(() => undefined);
  ready.catch(() => undefined);
  await Promise.race([ended, ready]).catch((error: unknown) => {
    throw new Error(worker.output(), { cause: error });
  });
  return worker;
}

async function kill(app: App): Promise<void> {
  const worker = running.get(app);
  worker?.kill('SIGKILL');
  await worker?.exited;
}

async function found(query: string): Promise<number> {
  const search = createSearch({ pool: db.pool, projections: shippedProjections() });
  return (await search.search('mail', { query, organisation: 'acme' })).total;
}

function shown(subject: string): number {
  return pushService.received.filter(({ plaintext }) => plaintext.includes(`"body":"${subject}"`)).length;
}

/** Watched and read: from here on a mail is news. */
async function settled(): Promise<void> {
  await eventually(
    async () => {
      const { rows } = await db.pool.query<{ well: boolean }>(
        'select watch_topic = $1 and last_synced_at is not null as well from app.mail_connections',
        [TOPIC],
      );
      return rows[0]?.well;
    },
    { withinMs: PATIENCE_MS },
  );
}

async function arrives(subject: string): Promise<void> {
  await eventually(() => shown(subject) >= 1, { withinMs: PATIENCE_MS, message: `no push of ${subject}` });
  await eventually(async () => (await found(subject)) === 1, { withinMs: PATIENCE_MS });
}

/** How often each topic was emitted since the mailbox was settled, `mail.changed` by the history id that it tells of. */
async function emittedOf(topic: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ what: string }>(
    `select coalesce(payload ->> 'history_id', payload ->> 'mail_id', payload -> 'payload' ->> 'body', '') as what
     from outbox.event where topic = $1 order by seq`,
    [topic],
  );
  return rows.map(({ what }) => what);
}

/** Holds up whoever writes to the table, from when it resolves until `release`. */
async function holdUp(table: string): Promise<{ waiting(): Promise<boolean>; release(): Promise<void> }> {
  const client = await db.pool.connect();
  await client.query('begin');
  await client.query(`lock table ${table} in share row exclusive mode`);
  return {
    async waiting() {
      const { rowCount } = await db.pool.query(
        'select from pg_locks where relation = $1::regclass and not granted',
        [table],
      );
      return (rowCount ?? 0) > 0;
    },
    async release() {
      await client.query('rollback');
      client.release();
    },
  };
}

describe.each(servers)('with %s', (_, startPubSub) => {
  beforeEach(async () => {
    await setUp(startPubSub);
  });
  afterEach(tearDown);

  test('a mail becomes a push that decrypts to its subject, and a search finds it', async () => {
    for (const app of APPS) await start(app);
    await settled();
    mailbox.deliver({ subject: 'Concert tonight', from: 'Grace <grace@example.org>' });
    await arrives('Concert tonight');
    expect(pushService.violations).toEqual([]);
    const data = JSON.parse(pushService.received[0]?.plaintext ?? '{}') as unknown;
    expect(data).toMatchObject({ title: 'Grace', body: 'Concert tonight' });
    for (const app of APPS) running.get(app)?.kill('SIGTERM');
    for (const app of APPS) {
      const worker = running.get(app);
      const output = worker?.output() ?? '';
      expect(await worker?.exited, output).toEqual({ code: 0, signal: null });
      expect(output).not.toMatch(/ya29\.|1\/\/refresh|stand-in-secret|v1\.[0-9a-f]{8}\./);
      // Nor what people write to each other, at any level.
      expect(output).not.toMatch(/Concert tonight|grace@example\.org/i);
      expect(output).not.toContain(env['ENCRYPTION_KEY']);
    }
    expect(shown('Concert tonight')).toBe(1);
  });

  test('so it does when each worker is killed at its worst moment', async () => {
    for (const app of APPS) await start(app);
    await settled();

    // The one that pulls: its events are committed, and nothing is acknowledged.
    pubsub.ignoreAcknowledgements?.(true);
    mailbox.deliver({ subject: 'First letter' });
    const firstId = String(mailbox.historyId);
    await eventually(async () => (await emittedOf('mail.changed')).includes(firstId), {
      withinMs: PATIENCE_MS,
      everyMs: 2,
    });
    await kill('watch-worker');
    pubsub.ignoreAcknowledgements?.(false);
    await arrives('First letter');
    await start('watch-worker');

    // The one that syncs: all is listed and fetched, and waits to be stored.
    const messages = await holdUp('app.mail_messages');
    mailbox.deliver({ subject: 'Second letter' });
    await eventually(messages.waiting, { withinMs: PATIENCE_MS });
    await kill('worker');
    await messages.release();
    await start('worker');
    await arrives('Second letter');

    // The one that sends: the push service has taken the message, and that waits to be written down.
    const deliveries = await holdUp('push.delivery');
    mailbox.deliver({ subject: 'Third letter' });
    await eventually(async () => shown('Third letter') === 1 && (await deliveries.waiting()), {
      withinMs: PATIENCE_MS,
    });
    await kill('push-worker');
    await deliveries.release();
    await start('push-worker');
    await eventually(() => isDelivered('push'), { withinMs: PATIENCE_MS });
    await arrives('Third letter');

    // Told of once each, stored once each, indexed once each. Only what was sent and not written down is sent again.
    expect((await emittedOf('mail.changed')).filter((id) => id === firstId)).toHaveLength(1);
    expect(await emittedOf('push.requested')).toEqual(['First letter', 'Second letter', 'Third letter']);
    expect(new Set(await emittedOf('item.upserted')).size).toBe(3);
    expect(await emittedOf('item.upserted')).toHaveLength(3);
    expect(shown('First letter')).toBe(1);
    expect(shown('Second letter')).toBe(1);
    expect(shown('Third letter')).toBeLessThanOrEqual(2);
    expect(pushService.violations).toEqual([]);
  }, 1_200_000);

  test('so it does when a worker is frozen past its leases, and wakes up when another has done its work', async () => {
    const frozen = await start('worker');
    for (const app of ['push-worker', 'watch-worker'] as const) await start(app);
    await settled();

    const messages = await holdUp('app.mail_messages');
    mailbox.deliver({ subject: 'Slow letter' });
    await eventually(messages.waiting, { withinMs: PATIENCE_MS });
    frozen.kill('SIGSTOP');
    await start('worker');
    // The frozen one's transaction has all that it needs, but for its commit, and for its client to send it.
    await messages.release();
    await db.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and state = 'idle in transaction' and pid <> pg_backend_pid()`,
    );
    await arrives('Slow letter');
    frozen.kill('SIGCONT');
    mailbox.deliver({ subject: 'Next letter' });
    await arrives('Next letter');
    expect(await emittedOf('push.requested')).toEqual(['Slow letter', 'Next letter']);
    expect(shown('Slow letter')).toBe(1);
    expect(await emittedOf('item.upserted')).toHaveLength(2);
    for (const worker of started) worker.kill('SIGTERM');
    for (const worker of started)
      expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
  }, 1_200_000);
});

/** Whether the group has been through everything that asks for a push. */
async function isDelivered(group: string): Promise<boolean> {
  const { rowCount } = await db.pool.query(
    `select where (select max(position) from outbox.cursor where group_name = $1)
               >= (select max(seq) from outbox.event where topic = 'push.requested')`,
    [group],
  );
  return rowCount === 1;
}

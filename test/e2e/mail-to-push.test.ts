// The whole way, with all three workers as processes: a mail arrives at Gmail, Pub/Sub tells of it, a browser shows its
// subject, and a search finds it. Then the same with each worker killed at a bad moment.

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
  freePort,
  runProgram,
  startGmailStandIn,
  startPubSubStandIn,
  startPushService,
} from '@pulsebox/test-support';
import type {
  GmailStandIn,
  GmailStandInMailbox,
  Program,
  PubSubStandIn,
  PushService,
  TestDatabase,
} from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';

/** Three processes beside whatever else the machine does. */
const PATIENCE_MS = 90_000;

const PROJECT = 'acme-mail';
const TOPIC = `projects/${PROJECT}/topics/gmail`;
const APPS = ['worker', 'push-worker', 'watch-worker'] as const;
type App = (typeof APPS)[number];

const vapid = generateVapidKeys();
let db: TestDatabase;
let gmail: GmailStandIn;
let mailbox: GmailStandInMailbox;
let pubsub: PubSubStandIn;
let pubsubClient: PubSub;
let pushService: PushService;
let folder: string;
let env: Record<string, string>;
let running: Map<App, Program>;

beforeEach(async () => {
  [db, gmail, pubsub, pushService] = await Promise.all([
    createTestDatabase(inject('serverUrl')),
    startGmailStandIn(),
    startPubSubStandIn(),
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
});

afterEach(async () => {
  for (const worker of running.values()) worker.kill('SIGKILL');
  await Promise.all([...running.values()].map(({ exited }) => exited));
  await pubsubClient.close();
  await Promise.all([gmail.close(), pubsub.close(), pushService.close()]);
  await db.drop();
  await rm(folder, { recursive: true });
});

async function start(app: App): Promise<void> {
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
  await eventually(
    () =>
      fetch(`http://127.0.0.1:${port}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
    { withinMs: PATIENCE_MS, message: `${app} is not ready` },
  ).catch((error: unknown) => {
    throw new Error(worker.output(), { cause: error });
  });
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
  }
  expect(shown('Concert tonight')).toBe(1);
}, 300_000);

test('so it does when each worker is killed on the way', async () => {
  for (const app of APPS) await start(app);
  await settled();

  // The one that pulls: gone before the notification comes, and Pub/Sub keeps it.
  await kill('watch-worker');
  mailbox.deliver({ subject: 'First letter' });
  await start('watch-worker');
  await arrives('First letter');

  // The one that syncs: in the middle of fetching, with nothing stored yet.
  gmail.inject({ path: /messages\/./, times: 1, fault: { kind: 'silence' } });
  gmail.forgetRequests();
  mailbox.deliver({ subject: 'Second letter' });
  await eventually(() => gmail.requestsTo(/messages\/./).length > 0, { withinMs: PATIENCE_MS });
  await kill('worker');
  await start('worker');
  await arrives('Second letter');

  // The one that sends: while the push service has the message and has not answered.
  pushService.answer(() => 'never');
  const before = pushService.counts.requests;
  mailbox.deliver({ subject: 'Third letter' });
  await eventually(() => pushService.counts.requests > before, { withinMs: PATIENCE_MS });
  await kill('push-worker');
  pushService.answer(() => undefined);
  await start('push-worker');
  await arrives('Third letter');

  for (const subject of ['First letter', 'Second letter']) expect(shown(subject)).toBe(1);
}, 600_000);

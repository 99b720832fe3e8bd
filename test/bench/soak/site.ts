// Everything around the workers: PostgreSQL, and stand-ins for Meilisearch, the push service, Pub/Sub and Gmail, which
// tell the witnesses what arrives.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import { generateVapidKeys, subscribe } from '@pulsebox/push';
import {
  createTemplate,
  createTestDatabase,
  startGmailStandIn,
  startMeilisearchStandIn,
  startPubSubStandIn,
  startPushService,
  startTemporaryServer,
} from '@pulsebox/test-support';
import type {
  GmailStandInMailbox,
  MeilisearchStandIn,
  PubSubStandIn,
  ReceivedPush,
  TestDatabase,
} from '@pulsebox/test-support';
import type { Pool } from 'pg';
import type { Plan } from './plan.ts';
import type { Arrivals } from './witnesses.ts';

export interface Site {
  readonly database: TestDatabase;
  readonly mailbox: GmailStandInMailbox;
  readonly meilisearch: MeilisearchStandIn;
  readonly pubsub: PubSubStandIn;
  /** Push requests that broke a rule of the protocol. */
  readonly pushViolations: readonly string[];
  /** Where imports find their files. */
  readonly storage: string;
  /** For every worker. */
  readonly environment: Readonly<Record<string, string>>;
  /** What the stand-ins recorded is theirs, and would grow. */
  forget(): void;
  close(): Promise<void>;
}

/** Durable commits; else PostgreSQL's defaults, and memory as a small machine has it. */
const SERVER_SETTINGS = { shared_buffers: '256MB', max_connections: '100' };
const PROJECT = 'acme-mail';
const BRIDGE_TOPIC = 'events';
/** Whose mailbox it is. */
const MAIL_USER = 'ada';

export async function startSite(plan: Plan, arrivals: Arrivals): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-soak-'));
  const server = await startTemporaryServer(SERVER_SETTINGS);
  await createTemplate(server.url);
  const [database, meilisearch, pubsub, gmail, pushService] = await Promise.all([
    createTestDatabase(server.url),
    startMeilisearchStandIn({ onRequest: arrivals.onIndexRequest }),
    startPubSubStandIn({
      onPublished: (topic, messages) => {
        if (topic.endsWith(`/${BRIDGE_TOPIC}`)) arrivals.onBridged(messages);
      },
    }),
    startGmailStandIn(),
    startPushService({ onReceived: arrivals.onPush }),
  ]);
  const client = new PubSub({
    projectId: PROJECT,
    apiEndpoint: pubsub.host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  await client.createTopic(BRIDGE_TOPIC);
  const [mailTopic] = await client.createTopic('gmail');
  await mailTopic.createSubscription('mail-changes');
  // Gmail's part: whatever changes in a mailbox that is watched is published.
  gmail.onNotification(({ emailAddress, historyId }) => {
    mailTopic
      .publishMessage({ json: { emailAddress, historyId: Number(historyId) } })
      // At the end of a run: what is not told of any more is missing, and found so.
      .catch(() => undefined);
  });

  await smallPartitions(database.pool, plan.partitionEvents);
  const encryptionKey = randomBytes(32).toString('base64');
  const mailbox = gmail.mailbox('ada@example.com');
  const mail = createMail({
    pool: database.pool,
    clientId: gmail.clientId,
    clientSecret: gmail.clientSecret,
    apiBase: gmail.url,
    encryptionKey,
  });
  await connectMailbox(mail, {
    userId: MAIL_USER,
    orgId: 'acme',
    grant: { refreshToken: mailbox.refreshToken },
    signal: AbortSignal.timeout(30_000),
  });
  const users = [MAIL_USER, ...Array.from({ length: plan.users }, (_, n) => `user-${n}`)];
  for (const userId of users) {
    const browser = pushService.subscribe();
    await subscribe(database.pool, { userId, ...browser }, { privateOrigins: [pushService.origin] });
  }
  await writeFile(join(folder, 'ca.pem'), pushService.ca);
  const vapid = generateVapidKeys();
  return {
    database,
    mailbox,
    meilisearch,
    pubsub,
    pushViolations: pushService.violations,
    storage: folder,
    environment: {
      DATABASE_URL: database.url,
      OUTBOX_PARTITION_EVENTS: String(plan.partitionEvents),
      OUTBOX_KEEP_HOURS: '0',
      MEILI_URL: meilisearch.url,
      FILE_STORAGE_PATH: folder,
      BRIDGE_PUBSUB_PROJECT_ID: PROJECT,
      BRIDGE_PUBSUB_TOPIC: BRIDGE_TOPIC,
      PUBSUB_EMULATOR_HOST: pubsub.host,
      GMAIL_CLIENT_ID: gmail.clientId,
      GMAIL_CLIENT_SECRET: gmail.clientSecret,
      GMAIL_API_BASE: gmail.url,
      ENCRYPTION_KEY: encryptionKey,
      GMAIL_PUBSUB_PROJECT_ID: PROJECT,
      GMAIL_PUBSUB_TOPIC: 'gmail',
      GMAIL_PUBSUB_SUBSCRIPTION: 'mail-changes',
      VAPID_PUBLIC_KEY: vapid.publicKey,
      VAPID_PRIVATE_KEY: vapid.privateKey,
      VAPID_SUBJECT: 'mailto:push@pulsebox.example',
      PUSH_PRIVATE_ORIGINS: pushService.origin,
      NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
    },
    forget(): void {
      meilisearch.forgetRequests();
      pubsub.forget();
      gmail.forgetRequests();
      (pushService.received as ReceivedPush[]).length = 0;
    },
    async close(): Promise<void> {
      await client.close();
      await Promise.all([meilisearch.close(), pubsub.close(), gmail.close(), pushService.close()]);
      await database.drop();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Those of a new log have room for ten million events each. */
async function smallPartitions(pool: Pool, partitionEvents: number): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(`select name from outbox.partition`);
  await pool.query(`drop table ${rows.map(({ name }) => name).join(', ')}`);
  await pool.query('select outbox.create_partitions(1, $1)', [partitionEvents]);
}

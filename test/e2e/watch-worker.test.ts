// `watch-worker` from outside, as a container runs it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startPubSubStandIn,
  tcpProxy,
} from '@pulsebox/test-support';
import type { Program, PubSubStandIn, TestDatabase } from '@pulsebox/test-support';
import { beforeEach, expect, inject, onTestFinished, test } from 'vitest';

const ENTRY = 'apps/watch-worker/src/index.ts';
const PROJECT = 'acme-mail';

let db: TestDatabase;
let pubsub: PubSubStandIn;
let client: PubSub;
let connection: string;

beforeEach(async () => {
  [db, pubsub] = await Promise.all([createTestDatabase(inject('serverUrl')), startPubSubStandIn()]);
  client = new PubSub({
    projectId: PROJECT,
    apiEndpoint: pubsub.host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  const [topic] = await client.createTopic('gmail');
  await topic.createSubscription('mail-changes');
  const { rows } = await db.pool.query<{ connection_id: string }>(
    `insert into app.mail_connections (user_id, org_id, email, refresh_token)
     values ('ada', 'acme', 'ada@example.com', 'v1.none') returning connection_id`,
  );
  connection = rows[0]?.connection_id ?? '';
  onTestFinished(async () => {
    await client.close();
    await pubsub.close();
    await db.drop();
  });
});

interface Running {
  readonly program: Program;
  health(path?: string): Promise<number>;
  metrics(): Promise<string>;
}

async function start(env: Readonly<Record<string, string>>): Promise<Running> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const program = runProgram(ENTRY, {
    args: ['--loop'],
    env: { DATABASE_URL: db.url, WATCH_WORKER_HEALTH_PORT: String(port), ...env },
  });
  const health = async (path = '/health'): Promise<number> =>
    await fetch(`${origin}${path}`).then(
      ({ status }) => status,
      () => 0,
    );
  await eventually(async () => (await health('/health/ready')) === 200).catch((error: unknown) => {
    throw new Error(`not ready: ${program.output()}`, { cause: error });
  });
  return { program, health, metrics: async () => await (await fetch(`${origin}/metrics`)).text() };
}

function configured(): Record<string, string> {
  return {
    GMAIL_PUBSUB_PROJECT_ID: PROJECT,
    GMAIL_PUBSUB_SUBSCRIPTION: 'mail-changes',
    PUBSUB_EMULATOR_HOST: pubsub.host,
  };
}

async function notify(historyId: number): Promise<void> {
  const data = Buffer.from(JSON.stringify({ emailAddress: 'Ada@example.com', historyId: String(historyId) }));
  await client.topic('gmail').publishMessage({ data });
}

async function emitted(): Promise<string[]> {
  const { rows } = await db.pool.query<{ id: string }>(
    `select payload ->> 'history_id' as id from outbox.event
     where topic = 'mail.changed' and payload ->> 'connection_id' = $1 order by seq`,
    [connection],
  );
  return rows.map(({ id }) => id);
}

test('without configuration it is off, says so once, and is healthy', async () => {
  const { program, health } = await start({});
  expect(await health()).toBe(200);
  expect(
    program.log().filter(({ msg }) => String(msg).startsWith('mail notifications are off')),
  ).toHaveLength(1);
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
});

test('pulls, emits, counts, and stops with 0 on SIGTERM', async () => {
  const { program, metrics } = await start(configured());
  await notify(10);
  await eventually(async () => (await emitted()).at(-1) === '10');
  await client.topic('gmail').publishMessage({ data: Buffer.from('rubbish') });
  await eventually(async () => (await metrics()).includes('pubsub_dead_letters 1\n'));
  expect(await metrics()).toContain('pubsub_stream_up 1\n');
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.log().filter(({ level }) => level === 'error')).toEqual([]);
  expect(pubsub.subscription('mail-changes').backlog).toBe(0);
});

test('without --loop it handles what there is, acknowledges it, and ends with 0', async () => {
  await notify(15);
  const once = runProgram(ENTRY, {
    env: { DATABASE_URL: db.url, WATCH_WORKER_HEALTH_PORT: String(await freePort()), ...configured() },
  });
  expect(await once.exited, once.output()).toEqual({ code: 0, signal: null });
  expect((await emitted()).at(-1)).toBe('15');
  expect(pubsub.subscription('mail-changes').backlog).toBe(0);
  const idle = runProgram(ENTRY, {
    env: { DATABASE_URL: db.url, WATCH_WORKER_HEALTH_PORT: String(await freePort()), ...configured() },
  });
  expect(await idle.exited, idle.output()).toEqual({ code: 0, signal: null });
});

test('one that is killed between commit and acknowledgement: the next gets it again and emits nothing twice', async () => {
  const first = await start(configured());
  const subscription = pubsub.subscription('mail-changes');
  const before = subscription.acknowledged.length;
  pubsub.ignoreAcknowledgements(true);
  await notify(20);
  await eventually(async () => (await emitted()).at(-1) === '20');
  first.program.kill('SIGKILL');
  await first.program.exited;
  pubsub.ignoreAcknowledgements(false);
  expect(subscription.acknowledged).toHaveLength(before);

  const second = await start(configured());
  await eventually(() => subscription.acknowledged.length === before + 1);
  expect(await emitted()).toEqual(['20']);
  second.program.kill('SIGTERM');
  await second.program.exited;
});

test('while the database is away it stays alive, and goes on when it is back', async () => {
  const proxy = await tcpProxy(db.url);
  const { program, health } = await start({ ...configured(), DATABASE_URL: proxy.url });
  proxy.cut();
  await notify(30);
  await eventually(async () => (await health('/health/ready')) === 503);
  expect(await health()).toBe(200);
  proxy.restore();
  await eventually(async () => (await emitted()).at(-1) === '30');
  await eventually(async () => (await health('/health/ready')) === 200);
  program.kill('SIGTERM');
  await program.exited;
  await proxy.close();
});

test('says every fault of its configuration at once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-credentials-'));
  const file = join(folder, 'key.json');
  await writeFile(file, '{"type":"service_account","private_key":"secret words"}');
  const broken = runProgram(ENTRY, {
    args: ['--loop'],
    env: {
      GMAIL_PUBSUB_PROJECT_ID: PROJECT,
      GMAIL_PUBSUB_SUBSCRIPTION: 'mail-changes',
      GMAIL_PUBSUB_CREDENTIALS_FILE: file,
    },
  });
  expect(await broken.exited).toMatchObject({ code: 1 });
  expect(broken.output()).toContain('expected DATABASE_URL');
  expect(broken.output()).toContain(
    `expected ${file} to hold Google credentials, but it lacks "client_email"`,
  );
  expect(broken.output()).not.toContain('secret words');

  const half = runProgram(ENTRY, {
    args: ['--loop'],
    env: {
      DATABASE_URL: db.url,
      GMAIL_PUBSUB_PROJECT_ID: PROJECT,
      GMAIL_WATCH_RENEW_BUFFER_HOURS: '0.01',
    },
  });
  expect(await half.exited).toMatchObject({ code: 1 });
  expect(half.output()).toContain('both to be set, or neither, but only GMAIL_PUBSUB_PROJECT_ID is');
  expect(half.output()).toContain('expected GMAIL_WATCH_RENEW_BUFFER_HOURS to be from 1 to 144');
  await rm(folder, { recursive: true });
});

// The worker as a process, the Gmail stand-in on its other side: what arrives in a mailbox is found and told of.

import { randomBytes } from 'node:crypto';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import type { Mail } from '@pulsebox/gmail';
import { emit } from '@pulsebox/outbox';
import { createSearch, shippedProjections } from '@pulsebox/search';
import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startGmailStandIn,
  tcpProxy,
} from '@pulsebox/test-support';
import type { GmailStandIn, Program, TestDatabase } from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, onTestFinished, test } from 'vitest';

const ENTRY = 'apps/worker/src/index.ts';
const ENCRYPTION_KEY = randomBytes(32).toString('base64');

let db: TestDatabase;
let gmail: GmailStandIn;
let mail: Mail;
let port: number;

beforeEach(async () => {
  db = await createTestDatabase(inject('serverUrl'));
  gmail = await startGmailStandIn();
  port = await freePort();
  mail = createMail({
    pool: db.pool,
    clientId: gmail.clientId,
    clientSecret: gmail.clientSecret,
    encryptionKey: ENCRYPTION_KEY,
    apiBase: gmail.url,
  });
});
afterEach(async () => {
  await gmail.close();
  await db.drop();
});

function runWorker(env: Readonly<Record<string, string>> = {}): Program {
  return runProgram(ENTRY, {
    args: ['--loop'],
    env: {
      DATABASE_URL: db.url,
      WORKER_HEALTH_PORT: String(port),
      GMAIL_CLIENT_ID: gmail.clientId,
      GMAIL_CLIENT_SECRET: gmail.clientSecret,
      GMAIL_API_BASE: gmail.url,
      OUTBOX_LEASE_SECONDS: '2',
      ENCRYPTION_KEY,
      ...env,
    },
  });
}

async function ready(): Promise<void> {
  await eventually(async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).ok);
}

async function found(query: string): Promise<number> {
  const search = createSearch({ pool: db.pool, projections: shippedProjections() });
  return (await search.search('mail', { query, organisation: 'acme' })).total;
}

test('is off, says so once, and is healthy without configuration', async () => {
  const worker = runWorker({
    GMAIL_CLIENT_ID: '',
    GMAIL_CLIENT_SECRET: '',
    ENCRYPTION_KEY: 'of another use',
  });
  await ready();
  expect(worker.log().filter(({ msg }) => String(msg).startsWith('mail is off'))).toHaveLength(1);
  expect(await (await fetch(`http://127.0.0.1:${port}/health`)).json()).toMatchObject({ status: 'ok' });
  expect((await db.pool.query(`select from outbox.consumer_group where name = 'mail'`)).rowCount).toBe(0);
});

test('says all that is wrong with its configuration, and shows no key', async () => {
  const worker = runWorker({ GMAIL_CLIENT_SECRET: '', ENCRYPTION_KEY: 'hunter2' });
  expect((await worker.exited).code).toBe(1);
  expect(worker.output()).toContain('only GMAIL_CLIENT_ID is');
  expect(worker.output()).toContain('expected key 1 to be 32 bytes');
  expect(worker.output()).not.toContain('hunter2');
});

test('finds a mail and asks for a push, also when the worker is killed in the middle of a full sync', async () => {
  const mailbox = gmail.mailbox('ada@example.com');
  mailbox.fill(600, (n) => ({ subject: `Letter ${n}` }));
  const { connectionId } = await connectMailbox(mail, {
    userId: 'ada',
    orgId: 'acme',
    grant: { refreshToken: mailbox.refreshToken },
    signal: AbortSignal.timeout(10_000),
  });
  const killed = runWorker();
  await eventually(async () => {
    const { rows } = await db.pool.query<{ counted: number }>(
      'select full_sync_counted::integer as counted from app.mail_connections',
    );
    return rows.some(({ counted }) => counted >= 200);
  });
  killed.kill('SIGKILL');
  await killed.exited;
  const worker = runWorker();
  await eventually(async () => (await found('letter')) === 600);

  mailbox.deliver({ subject: 'Dinner on Friday', from: 'Grace <grace@example.org>' });
  await emit(
    db.pool,
    {
      topic: 'mail.changed',
      key: `mailbox:${connectionId}`,
      payload: { connection_id: connectionId, history_id: mailbox.historyId.toString() },
    },
    { autocommit: true },
  );
  await eventually(async () => (await found('dinner friday')) === 1);
  const { rows } = await db.pool.query<{ payload: { payload: { title: string; body: string } } }>(
    `select payload from outbox.event where topic = 'push.requested'`,
  );
  expect(rows.map((row) => row.payload.payload)).toMatchObject([
    { title: 'Grace', body: 'Dinner on Friday' },
  ]);

  // No message was fetched much more than once, and nothing that could be a secret was logged.
  expect(gmail.requestsTo(/messages\//).length).toBeLessThan(601 + 2 * 100);
  for (const { output } of [killed, worker])
    expect(output()).not.toMatch(/ya29\.|1\/\/refresh|stand-in-secret|v1\.[0-9a-f]{8}\./);
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toMatch(/gmail_syncs_total\{[^}]*kind="full",outcome="done"[^}]*\} 1/);
  worker.kill('SIGTERM');
  expect((await worker.exited).code).toBe(0);
});

test('stays alive while Google does not answer, and while the database freezes in the middle of a sync', async () => {
  const proxy = await tcpProxy(db.url);
  onTestFinished(async () => await proxy.close());
  const mailbox = gmail.mailbox('ada@example.com');
  mailbox.fill(30);
  await connectMailbox(mail, {
    userId: 'ada',
    orgId: 'acme',
    grant: { refreshToken: mailbox.refreshToken },
    signal: AbortSignal.timeout(10_000),
  });
  gmail.inject({ path: /profile/, times: 3, fault: { kind: 'silence' } });
  // Three seconds until a loop is stale, so that a wait of six would show.
  const worker = runProgram(ENTRY, {
    args: ['--loop', '--interval', '0.5', '--idle-wait', '1'],
    env: {
      DATABASE_URL: proxy.url,
      WORKER_HEALTH_PORT: String(port),
      GMAIL_CLIENT_ID: gmail.clientId,
      GMAIL_CLIENT_SECRET: gmail.clientSecret,
      GMAIL_API_BASE: gmail.url,
      GMAIL_TIMEOUT_SECONDS: '6',
      ENCRYPTION_KEY,
    },
  });
  const seen = new Set<number>();
  const until = async (look: () => boolean | Promise<boolean>): Promise<void> => {
    await eventually(
      async () => {
        seen.add((await fetch(`http://127.0.0.1:${port}/health`)).status);
        return await look();
      },
      { message: worker.output() },
    );
  };
  await ready();
  await until(() => worker.output().includes('no answer in time'));

  gmail.inject({ path: /messages\//, times: 1, fault: { kind: 'silence' } });
  await until(() => gmail.requestsTo(/messages\//).length > 0);
  proxy.stall();
  await until(() => /no answer within|GMAIL_DATABASE_AWAY/.test(worker.output()));
  expect([...seen], worker.output()).toEqual([200]);
  proxy.restore();
  await until(async () => (await found('mail')) === 30);
  const { rows } = await db.pool.query(`select from outbox.parked where state = 'dead'`);
  expect(rows).toEqual([]);
  worker.kill('SIGTERM');
  expect((await worker.exited).code, worker.output()).toBe(0);
});

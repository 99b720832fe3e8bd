// Traces through the workers as a container runs them, before a collector of traces.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import { connectMailbox, createMail } from '@pulsebox/gmail';
import { requestImport } from '@pulsebox/imports';
import { transaction } from '@pulsebox/postgres';
import { generateVapidKeys, subscribe } from '@pulsebox/push';
import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startGmailStandIn,
  startKubernetesStandIn,
  startMeilisearchStandIn,
  startOtlpCollector,
  startPubSubStandIn,
  startPushService,
} from '@pulsebox/test-support';
import type {
  CollectedSpan,
  MeilisearchStandIn,
  OtlpCollector,
  Program,
  TestDatabase,
} from '@pulsebox/test-support';
import { afterEach, beforeEach, expect, inject, onTestFinished, test } from 'vitest';

/** The span of a producer, in an application of its own. */
const PRODUCER = 'aaaaaaaaaaaaaaaa';
let traces = 0;

interface Producer {
  readonly traceId: string;
  readonly traceparent: string;
}

function producer(flags: '00' | '01' = '01'): Producer {
  traces += 1;
  const traceId = String(traces).padStart(32, 'c');
  return { traceId, traceparent: `00-${traceId}-${PRODUCER}-${flags}` };
}

let db: TestDatabase;
let meili: MeilisearchStandIn;
let collector: OtlpCollector;

beforeEach(async () => {
  [db, meili, collector] = await Promise.all([
    createTestDatabase(inject('serverUrl')),
    startMeilisearchStandIn(),
    startOtlpCollector(),
  ]);
});
afterEach(async () => {
  await Promise.all([db.drop(), meili.close(), collector.close()]);
});

async function run(
  name: 'worker' | 'push-worker',
  env: Readonly<Record<string, string>> = {},
): Promise<{ worker: Program; origin: string }> {
  const port = String(await freePort());
  const worker = runProgram(`apps/${name}/src/index.ts`, {
    args: ['--loop'],
    env: {
      DATABASE_URL: db.url,
      WORKER_HEALTH_PORT: port,
      PUSH_WORKER_HEALTH_PORT: port,
      OUTBOX_LEASE_SECONDS: '2',
      MEILI_URL: meili.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      // Nothing is sent before the worker stops: what is looked at is all that there is.
      OTEL_BSP_SCHEDULE_DELAY: '3600000',
      ...env,
    },
  });
  const origin = `http://127.0.0.1:${port}`;
  const isReady = (): Promise<boolean> => fetch(`${origin}/health/ready`).then(({ ok }) => ok);
  await eventually(isReady, { message: `not ready: ${worker.output()}` });
  return { worker, origin };
}

async function stop(worker: Program): Promise<readonly CollectedSpan[]> {
  worker.kill('SIGTERM');
  expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
  return collector.spans;
}

async function emit(topic: string, payload: object, traceparent: string): Promise<void> {
  await db.pool.query('select outbox.emit($1, $2, null, $3)', [topic, payload, { traceparent }]);
}

async function addItem(name: string, traceparent: string): Promise<void> {
  const { rows } = await db.pool.query<{ item_id: string }>(
    `insert into app.items (org_id, canonical_id, name) values ('acme', $1, $1) returning item_id`,
    [name],
  );
  await emit('item.upserted', { item_id: rows[0]?.item_id }, traceparent);
  await eventually(() =>
    [...(meili.indexes.get('items')?.documents.values() ?? [])].some((document) => document['name'] === name),
  );
}

/** The traces that requests to Meilisearch with this text in them were of. */
function tracesOfRequests(text: string): (string | undefined)[] {
  return meili.requests
    .filter(({ body }) => JSON.stringify(body ?? '').includes(text))
    .map(({ headers }) => headers['traceparent'] as string | undefined);
}

async function headersOf(topic: string): Promise<{ readonly traceparent?: string }[]> {
  const { rows } = await db.pool.query<{ headers: { traceparent?: string } }>(
    'select headers from outbox.event where topic = $1 order by seq',
    [topic],
  );
  return rows.map(({ headers }) => headers);
}

test('the trace of a producer goes on in the span of the handler and in what it asks of Meilisearch', async () => {
  const { worker } = await run('worker');
  const [sampled, unsampled] = [producer(), producer('00')];
  await addItem('teapot', sampled.traceparent);
  await addItem('kettle', unsampled.traceparent);
  await addItem('spoon', 'rubbish');
  await emit('item.upserted', { of: 'no item' }, sampled.traceparent);
  await eventually(() => worker.output().includes('skipped an event'));
  const spans = await stop(worker);

  const ofTrace = spans.filter(({ traceId }) => traceId === sampled.traceId);
  const handling = ofTrace.find(({ kind }) => kind === 'consumer');
  expect(handling).toMatchObject({
    name: 'process item.upserted',
    parentSpanId: PRODUCER,
    failed: false,
    attributes: {
      'messaging.system': 'pulsebox',
      'messaging.destination.name': 'item.upserted',
      'messaging.consumer.group.name': 'search',
    },
    resource: { 'service.name': 'pulsebox-worker' },
  });
  const [sent] = tracesOfRequests('teapot');
  const request = ofTrace.find(({ spanId }) => sent === `00-${sampled.traceId}-${spanId}-01`);
  expect(request).toMatchObject({
    kind: 'client',
    parentSpanId: handling?.spanId,
    attributes: { 'server.address': '127.0.0.1' },
  });
  // Not recorded, and said so to whoever is asked.
  expect(tracesOfRequests('kettle')[0]).toMatch(new RegExp(`^00-${unsampled.traceId}-\\w+-00$`));
  expect(spans.filter(({ traceId }) => traceId === unsampled.traceId)).toEqual([]);
  expect(tracesOfRequests('spoon')).toHaveLength(1);
  expect(worker.log().find(({ msg }) => String(msg).startsWith('skipped an event'))).toMatchObject({
    trace_id: sampled.traceId,
    span_id: expect.stringMatching(/^[\da-f]{16}$/) as string,
  });
});

test('mail, imports, runtimes and the bridge continue the traces that set them going', async () => {
  const [gmail, pubsub, kube, directory] = await Promise.all([
    startGmailStandIn(),
    startPubSubStandIn(),
    startKubernetesStandIn(),
    mkdtemp(join(tmpdir(), 'pulsebox-traces-')),
  ]);
  onTestFinished(async () => {
    await Promise.all([gmail.close(), pubsub.close(), kube.close(), rm(directory, { recursive: true })]);
  });
  const client = new PubSub({
    projectId: 'acme',
    apiEndpoint: pubsub.host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  await client.createTopic('events');
  await client.close();
  const secrets = {
    clientId: gmail.clientId,
    clientSecret: gmail.clientSecret,
    encryptionKey: randomBytes(32).toString('base64'),
  };
  const mailbox = gmail.mailbox('ada@example.com');
  await connectMailbox(createMail({ pool: db.pool, ...secrets, apiBase: gmail.url }), {
    userId: 'ada',
    orgId: 'acme',
    grant: { refreshToken: mailbox.refreshToken },
    signal: AbortSignal.timeout(60_000),
  });
  const { worker } = await run('worker', {
    GMAIL_CLIENT_ID: secrets.clientId,
    GMAIL_CLIENT_SECRET: secrets.clientSecret,
    ENCRYPTION_KEY: secrets.encryptionKey,
    GMAIL_API_BASE: gmail.url,
    FILE_STORAGE_PATH: directory,
    PUBSUB_EMULATOR_HOST: pubsub.host,
    BRIDGE_PUBSUB_PROJECT_ID: 'acme',
    BRIDGE_PUBSUB_TOPIC: 'events',
    BRIDGE_TOPICS: 'stock.changed',
    OPENCLAW_RUNTIME: 'k8s',
    OPENCLAW_IMAGE: 'registry/openclaw:1',
    OPENCLAW_K8S_KUBECONFIG: kube.kubeconfig,
  });
  // What came with the connection is done: the message below is found for the event that tells of it, and for no other.
  const isIdle = `
    select from app.mail_connections
    where last_full_sync_at is not null
      and (select max(position) from outbox.cursor where group_name = 'mail') >= (select max(seq) from outbox.event)`;
  await eventually(async () => (await db.pool.query(isIdle)).rowCount === 1);

  const ofMail = producer();
  gmail.forgetRequests();
  mailbox.deliver({ subject: 'Dinner on Friday', from: 'Grace <grace@example.org>' });
  const { rows } = await db.pool.query<{ connection_id: string }>(
    'select connection_id from app.mail_connections',
  );
  await emit(
    'mail.changed',
    { connection_id: rows[0]?.connection_id, history_id: mailbox.historyId.toString() },
    ofMail.traceparent,
  );
  await eventually(async () => (await headersOf('push.requested')).length === 1);
  expect((await headersOf('push.requested'))[0]?.traceparent).toContain(ofMail.traceId);
  const asked = gmail.requests.map(({ headers }) => headers['traceparent']);
  expect(asked.length).toBeGreaterThan(1);
  for (const traceparent of asked) expect(traceparent).toContain(ofMail.traceId);

  const ofImport = producer();
  await writeFile(join(directory, 'items.ndjson'), '{"canonical_id":"a","item":{"name":"Imported"}}\n');
  await transaction(db.pool, async (connection) => {
    await requestImport(connection, { orgId: 'acme', filePath: 'items.ndjson', ownerId: 'ada' });
    await connection.query(`update outbox.event set headers = $1 where topic = 'import.requested'`, [
      { traceparent: ofImport.traceparent },
    ]);
  });
  await eventually(async () => (await headersOf('push.requested')).length === 2);
  for (const topic of ['item.upserted', 'push.requested'])
    expect((await headersOf(topic)).at(-1)?.traceparent).toContain(ofImport.traceId);
  await eventually(() => tracesOfRequests('Imported').length > 0);
  expect(tracesOfRequests('Imported')[0]).toContain(ofImport.traceId);

  const ofRuntime = producer();
  await emit('runtime.start_requested', { user_id: 'ada', org_id: 'acme' }, ofRuntime.traceparent);
  await eventually(() => kube.requests.some(({ method, status }) => method === 'POST' && status === 201));
  const creations = kube.requests.filter(({ method }) => method === 'POST');
  for (const { headers } of creations) expect(headers['traceparent']).toContain(ofRuntime.traceId);

  const ofStock = producer();
  await emit('stock.changed', { n: 1 }, ofStock.traceparent);
  await eventually(() => pubsub.published('events').length === 1);
  expect(pubsub.published('events')[0]?.attributes).toMatchObject({
    traceparent: ofStock.traceparent,
    googclient_traceparent: ofStock.traceparent,
  });

  const spans = await stop(worker);
  const named = (of: Producer): string[] =>
    spans
      .filter(({ traceId, kind }) => traceId === of.traceId && kind === 'consumer')
      .map(({ name }) => name);
  expect(named(ofMail)).toContain('process mail.changed');
  expect(named(ofImport)).toEqual(
    expect.arrayContaining(['process import.requested', 'process imports', 'process item.upserted']),
  );
  expect(named(ofStock)).toContain('process stock.changed');
  expect(JSON.stringify(spans)).not.toMatch(/ya29\.|Dinner|ada@example/);
});

test('a push is in the trace of its event, also when it is tried again, and no push service gets to know of it', async () => {
  const [service, folder] = await Promise.all([
    startPushService(),
    mkdtemp(join(tmpdir(), 'pulsebox-traces-')),
  ]);
  onTestFinished(async () => {
    await Promise.all([service.close(), rm(folder, { recursive: true })]);
  });
  await writeFile(join(folder, 'ca.pem'), service.ca);
  const browser = service.subscribe();
  await subscribe(db.pool, { userId: 'ann', ...browser }, { privateOrigins: [service.origin] });
  const keys = generateVapidKeys();
  const { worker } = await run('push-worker', {
    VAPID_PUBLIC_KEY: keys.publicKey,
    VAPID_PRIVATE_KEY: keys.privateKey,
    VAPID_SUBJECT: 'mailto:push@pulsebox.example',
    PUSH_PRIVATE_ORIGINS: service.origin,
    NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_SERVICE_NAME: 'notifications',
  });
  service.answer((_endpoint, request) =>
    request === 1 ? { status: 503, headers: { 'retry-after': '1' } } : undefined,
  );
  const of = producer();
  await emit('push.requested', { user_id: 'ann', payload: { title: 'Hello' } }, of.traceparent);
  await eventually(() => service.received.length === 1);
  expect(service.violations).toEqual([]);
  const spans = (await stop(worker)).filter(({ traceId }) => traceId === of.traceId);
  const sends = spans.filter(({ kind }) => kind === 'client');
  expect(sends.map(({ failed, attributes }) => [failed, attributes['http.response.status_code']])).toEqual([
    [true, 503],
    [false, 201],
  ]);
  const parents = sends.map(({ parentSpanId }) => spans.find(({ spanId }) => spanId === parentSpanId)?.name);
  expect(parents).toEqual(['process push.requested', 'process push-retry']);
  expect(spans[0]?.resource).toMatchObject({ 'service.name': 'notifications' });
  expect(JSON.stringify(spans)).not.toContain(new URL(browser.endpoint).pathname);
});

test('a collector that does not answer costs spans, and nothing else', async () => {
  collector.answer('silence');
  const { worker, origin } = await run('worker', {
    OTEL_TRACES_SAMPLER: 'always_on',
    OTEL_EXPORTER_OTLP_TIMEOUT: '200',
    OTEL_BSP_SCHEDULE_DELAY: '1',
  });
  await addItem('teapot', producer().traceparent);
  const figures = async (): Promise<string> => (await fetch(`${origin}/metrics`)).text();
  await eventually(async () =>
    /^tracing_spans_dropped_total\{reason="export_failed"\} [1-9]/m.test(await figures()),
  );
  await addItem('kettle', producer().traceparent);
  expect((await fetch(`${origin}/health`)).status).toBe(200);
  expect(await figures()).toMatch(/^worker_errors_total\{worker="worker"\} 0$/m);
  expect(worker.output().match(/takes no spans/g)).toHaveLength(1);
  worker.kill('SIGTERM');
  expect(await worker.exited, worker.output()).toEqual({ code: 0, signal: null });
  expect(worker.output()).not.toContain('something holds the process open');
});

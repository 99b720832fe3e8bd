// The bridge in `worker`, as a container runs it.

import { PubSub } from '@google-cloud/pubsub';
import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startPubSubStandIn,
} from '@pulsebox/test-support';
import type { Program, PubSubStandIn, TestDatabase } from '@pulsebox/test-support';
import { beforeEach, expect, inject, onTestFinished, test } from 'vitest';

const PROJECT = 'acme';
const KEYS = 5;

let db: TestDatabase;
let pubsub: PubSubStandIn;

beforeEach(async () => {
  [db, pubsub] = await Promise.all([createTestDatabase(inject('serverUrl')), startPubSubStandIn()]);
  const client = new PubSub({
    projectId: PROJECT,
    apiEndpoint: pubsub.host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  await client.createTopic('events');
  await client.close();
  onTestFinished(async () => {
    await pubsub.close();
    await db.drop();
  });
});

async function startWorker(env: Readonly<Record<string, string>>): Promise<Program> {
  return runProgram('apps/worker/src/index.ts', {
    args: ['--loop', '--batch-size', '20'],
    env: {
      DATABASE_URL: db.url,
      WORKER_HEALTH_PORT: String(await freePort()),
      OUTBOX_LEASE_SECONDS: '2',
      PUBSUB_EMULATOR_HOST: pubsub.host,
      ...env,
    },
  });
}

async function emitItems(from: number, count: number): Promise<void> {
  await db.pool.query(
    `select outbox.emit('stock.changed', jsonb_build_object('n', n), 'stock:' || n % $3)
     from generate_series($1::int, $1 + $2 - 1) n`,
    [from, count, KEYS],
  );
}

function published(): { key: string; position: number; n: number }[] {
  return pubsub.published('events').map(({ orderingKey, attributes, data }) => {
    return {
      key: orderingKey,
      position: Number(attributes['position']),
      n: (JSON.parse(data.toString()) as { n: number }).n,
    };
  });
}

test('a bridge that is killed again and again loses nothing, and every key comes in order', async () => {
  const configured = {
    BRIDGE_PUBSUB_PROJECT_ID: PROJECT,
    BRIDGE_PUBSUB_TOPIC: 'events',
    BRIDGE_TOPICS: 'stock.*',
  };
  const total = 900;
  for (let round = 0; round < 3; round += 1) {
    const before = published().length;
    const worker = await startWorker(configured);
    await emitItems(round * 300, 300);
    await eventually(() => published().length > before);
    worker.kill('SIGKILL');
    await worker.exited;
  }
  const last = await startWorker(configured);
  await eventually(() => new Set(published().map(({ n }) => n)).size === total);
  last.kill('SIGTERM');
  expect(await last.exited).toEqual({ code: 0, signal: null });

  for (let key = 0; key < KEYS; key += 1) {
    const own = published().filter((message) => message.key === `stock:${key}`);
    // As the page tells subscribers: what is not above the last position of its key is a repetition.
    let greatest = 0;
    const kept = own.filter(({ position }) => {
      const isNew = position > greatest;
      greatest = Math.max(greatest, position);
      return isNew;
    });
    expect(kept.map(({ n }) => n)).toEqual(Array.from({ length: total / KEYS }, (_, i) => i * KEYS + key));
  }
}, 600_000);

test('says what is wrong with its configuration, and is off without any', async () => {
  const half = await startWorker({ BRIDGE_PUBSUB_PROJECT_ID: PROJECT });
  expect(await half.exited).toMatchObject({ code: 1 });
  expect(half.output()).toContain('both to be set, or neither, but only BRIDGE_PUBSUB_PROJECT_ID is');
  const wrong = await startWorker({ BRIDGE_PUBSUB_PROJECT_ID: PROJECT, BRIDGE_PUBSUB_TOPIC: 'no topic' });
  expect(await wrong.exited).toMatchObject({ code: 1 });
  expect(wrong.output()).toContain('expected a topic of Pub/Sub such as "events"');
  const off = await startWorker({});
  await off.says('the bridge to Pub/Sub is off');
  off.kill('SIGTERM');
  expect(await off.exited).toEqual({ code: 0, signal: null });
});

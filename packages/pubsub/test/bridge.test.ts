import { randomBytes } from 'node:crypto';
import { createLogger } from '@pulsebox/loop';
import { createWaker, emit, emitAll, relay } from '@pulsebox/outbox';
import type { JsonValue, NewEvent } from '@pulsebox/outbox';
import { transaction } from '@pulsebox/postgres';
import { bridgeMetrics, createBridge } from '@pulsebox/pubsub';
import type { Bridge, BridgeOptions } from '@pulsebox/pubsub';
import { status } from '@grpc/grpc-js';
import { createTestDatabase, eventually, startPubSubStandIn, tcpProxy } from '@pulsebox/test-support';
import type { PubSubStandIn, TcpProxy, TestDatabase } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createTestTopic, pubsubServers } from './pubsub-servers.ts';
import type { PubSubServer, TestTopic } from './pubsub-servers.ts';
import { runLoop } from './running-loop.ts';
import type { RunningLoop } from './running-loop.ts';

interface Received {
  readonly position: number;
  readonly topic: string;
  readonly key: string;
  readonly payload: unknown;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What a subscriber with ordering gets, in the order in which it gets it. */
function subscribe(topic: TestTopic): { received: Received[]; close(): Promise<void> } {
  const received: Received[] = [];
  const subscription = topic.client.subscription(topic.subscription, { streamingOptions: { maxStreams: 1 } });
  subscription.on('error', () => undefined);
  subscription.on('message', (message) => {
    const { attributes, orderingKey, data } = message;
    received.push({
      position: Number(attributes['position']),
      topic: attributes['topic'] ?? '',
      key: orderingKey ?? '',
      payload: JSON.parse(data.toString()) as unknown,
      attributes,
    });
    message.ack();
  });
  return { received, close: async () => await subscription.close() };
}

/** Positions of each key, in the order of arrival. */
function byKey(received: readonly Received[]): Map<string, number[]> {
  const keys = new Map<string, number[]>();
  for (const { key, position } of received) keys.set(key, [...(keys.get(key) ?? []), position]);
  return keys;
}

function isAscending(positions: readonly number[]): boolean {
  return positions.every((position, n) => n === 0 || position > (positions[n - 1] ?? 0));
}

/** What a subscriber is told to do: drop what is not above the last position of its key. */
function withoutRepeats(positions: readonly number[]): number[] {
  const kept: number[] = [];
  for (const position of positions) if (position > (kept.at(-1) ?? 0)) kept.push(position);
  return kept;
}

let database: TestDatabase;
let topic: TestTopic;
let running: RunningLoop[] = [];
let bridges: Bridge[] = [];
let group: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('serverUrl'));
});
afterAll(async () => await database.drop());
afterEach(async () => {
  for (const loop of running) await loop.stop();
  for (const bridge of bridges) await bridge.close();
  running = [];
  bridges = [];
  await topic.close();
});

async function prepare(host: string): Promise<void> {
  topic = await createTestTopic(host, { ordered: true });
  group = `bridge-${randomBytes(3).toString('hex')}`;
}

function startBridge(options: Partial<BridgeOptions> = {}): RunningLoop {
  const bridge = createBridge({
    connection: topic.connection,
    topic: topic.topic,
    events: ['item.*'],
    ...options,
  });
  bridges.push(bridge);
  const log = createLogger({ worker: 'test', destination: { write: () => undefined } });
  const waker = createWaker({ connection: undefined, log });
  const loop = runLoop(
    relay({
      pool: database.pool,
      group,
      handler: bridge.handler,
      holder: 'test',
      waker,
      batchSize: 50,
      pollMs: 20,
      leaseTtlMs: 5_000,
      startFrom: 'end',
      pause: { firstMs: 20, longestMs: 100 },
    }),
  );
  running.push(loop);
  return loop;
}

/** The group begins at the end of the log: what a test emits comes after what others have. */
async function started(): Promise<void> {
  await eventually(async () => {
    const { rows } = await database.pool.query('select from outbox.cursor where group_name = $1', [group]);
    return rows.length > 0;
  });
}

async function emitItems(count: number, keys: number): Promise<number[]> {
  return await transaction(
    database.pool,
    async (client) =>
      await emitAll(
        client,
        Array.from({ length: count }, (_each, n): NewEvent => {
          return { topic: 'item.upserted', key: `item:${n % keys}`, payload: { n } };
        }),
      ),
  );
}

async function parked(): Promise<{ position: number; state: string; reason: string }[]> {
  const { rows } = await database.pool.query<{ position: string; state: string; reason: string }>(
    `select position, state, errors -> -1 ->> 'reason' as reason from outbox.parked where group_name = $1 order by position`,
    [group],
  );
  return rows.map(({ position, state, reason }) => ({ position: Number(position), state, reason }));
}

describe.each(pubsubServers)('with %s', (_, start) => {
  let server: PubSubServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    server = await start();
    proxy = await tcpProxy(`tcp://${server.host}`);
  });
  afterAll(async () => {
    await proxy.close();
    await server.close();
  });
  beforeEach(async () => await prepare(server.host));

  test('chosen topics come out, with key, position, topic and payload, in order for every key', async () => {
    const registry = new Registry();
    const subscriber = subscribe(topic);
    startBridge({ metrics: bridgeMetrics(registry) });
    await started();
    const positions = await emitItems(200, 7);
    await emit(database.pool, { topic: 'note.taken', payload: { secret: true } }, { autocommit: true });
    await emit(
      database.pool,
      { topic: 'item.archived', payload: [1, 'ü', null], headers: { trace: 'abc' } },
      { autocommit: true },
    );
    await eventually(() => subscriber.received.length === 201);
    for (const inOrder of byKey(subscriber.received.filter(({ key }) => key !== '')).values())
      expect(isAscending(inOrder)).toBe(true);
    expect(subscriber.received.map(({ position }) => position)).toEqual(expect.arrayContaining(positions));
    expect(subscriber.received.find(({ position }) => position === positions[9])).toMatchObject({
      topic: 'item.upserted',
      key: 'item:2',
      payload: { n: 9 },
    });
    expect(subscriber.received.find(({ key }) => key === '')).toMatchObject({
      topic: 'item.archived',
      payload: [1, 'ü', null],
      attributes: { headers: '{"trace":"abc"}', created_at: expect.stringMatching(/^\d{4}-.+Z$/) },
    });
    await eventually(async () =>
      (await registry.metrics()).includes('pubsub_bridge_events_total{outcome="passed_over"} 1'),
    );
    expect(await registry.metrics()).toContain('pubsub_bridge_events_total{outcome="published"} 201');
    await subscriber.close();
  });

  test('while Pub/Sub is away the group pauses, then everything comes, in order', async () => {
    const subscriber = subscribe(topic);
    const bridging = startBridge({
      connection: { ...topic.connection, emulatorHost: new URL(proxy.url).host },
      timeoutMs: 500,
    });
    await started();
    await emitItems(20, 3);
    await eventually(() => subscriber.received.length === 20);
    for (const breakNetwork of [() => proxy.cut(), () => proxy.stall()]) {
      const before = new Set(subscriber.received.map(({ position }) => position)).size;
      breakNetwork();
      await emitItems(60, 3);
      // Ticks succeed without events while it pauses: nothing of it is to blame on events.
      const ticks = bridging.ticks;
      await eventually(() => bridging.ticks > ticks + 3);
      proxy.restore();
      await eventually(
        () => new Set(subscriber.received.map(({ position }) => position)).size === before + 60,
      );
    }
    for (const positions of byKey(subscriber.received).values()) {
      expect(withoutRepeats(positions)).toEqual([...new Set(positions)].toSorted((a, b) => a - b));
    }
    expect(await parked()).toEqual([]);
    expect(bridging.errors).toEqual([]);
    await subscriber.close();
  });

  test('an event that is too large is a dead letter with the reason; others of its batch come, none of its key', async () => {
    const subscriber = subscribe(topic);
    startBridge();
    await started();
    const positions = await transaction(
      database.pool,
      async (client) =>
        await emitAll<JsonValue>(client, [
          { topic: 'item.upserted', key: 'item:a', payload: 1 },
          { topic: 'item.upserted', key: 'item:a', payload: 'x'.repeat(10_000_001) },
          { topic: 'item.upserted', key: 'item:b', payload: 2 },
          { topic: 'item.upserted', key: 'item:a', payload: 3 },
          { topic: 'item.upserted', key: 'item:c', payload: 4, headers: { long: 'y'.repeat(2_000) } },
          { topic: 'item.upserted', key: 'item:b', payload: 5 },
        ]),
    );
    await eventually(async () => (await parked()).length === 3);
    await eventually(() => subscriber.received.length === 3);
    expect(subscriber.received.map(({ payload }) => payload)).toEqual(expect.arrayContaining([1, 2, 5]));
    const [large, behind, headers] = await parked();
    expect(large).toMatchObject({ position: positions[1], state: 'dead' });
    expect(large?.reason).toMatch(
      /PUBSUB_SINK_REJECTED: expected an event of at most 10000000 bytes.+got 10000\d{3}/,
    );
    expect(behind).toMatchObject({ position: positions[3], state: 'parked' });
    expect(headers?.reason).toContain('expected headers of at most 1024 bytes');
    await subscriber.close();
  });

  test('a batch beyond what one request may hold goes in several', async () => {
    const subscriber = subscribe(topic);
    startBridge();
    await started();
    await transaction(
      database.pool,
      async (client) =>
        await emitAll(
          client,
          Array.from({ length: 12 }, (_each, n): NewEvent => {
            return { topic: 'item.upserted', key: 'item:1', payload: { n, text: 'x'.repeat(2_000_000) } };
          }),
        ),
    );
    await eventually(() => subscriber.received.length === 12);
    expect(subscriber.received.map(({ payload }) => (payload as { n: number }).n)).toEqual([
      ...Array(12).keys(),
    ]);
    await subscriber.close();
  });

  test('a topic that does not exist pauses the group, and says what to do', async () => {
    const missing = `${topic.topic}-later`;
    const bridge = createBridge({ connection: topic.connection, topic: missing, events: ['*'] });
    bridges.push(bridge);
    const event = { position: 1, topic: 'a', key: null, payload: 1, headers: {}, createdAt: new Date() };
    const context = {
      signal: new AbortController().signal,
      fencingToken: 1,
      progress: () => undefined,
      log: createLogger({ worker: 'test', destination: { write: () => undefined } }),
    };
    const publishing = bridge.handler({ group: 'bridge', lane: 0, events: [event] }, context);
    await expect(publishing).rejects.toMatchObject({
      kind: 'away',
      code: 'PUBSUB_SINK_DENIED',
      sinkCode: 'NOT_FOUND',
      hint: expect.stringContaining('roles/pubsub.publisher'),
    });
    await topic.client.createTopic(missing);
    expect(await bridge.handler({ group: 'bridge', lane: 0, events: [event] }, context)).toEqual({
      failed: [],
    });
  });
});

describe('with the stand-in alone', () => {
  let standIn: PubSubStandIn;

  beforeAll(async () => {
    standIn = await startPubSubStandIn();
  });
  afterAll(async () => await standIn.close());
  beforeEach(async () => await prepare(standIn.host));

  function published(): { key: string; position: number }[] {
    return standIn.published(topic.topic).map(({ orderingKey, attributes }) => {
      return { key: orderingKey, position: Number(attributes['position']) };
    });
  }

  function positionsOf(key: string): number[] {
    return published()
      .filter((message) => message.key === key)
      .map(({ position }) => position);
  }

  test.each([
    ['unavailable', status.UNAVAILABLE],
    ['overloaded', status.RESOURCE_EXHAUSTED],
    ['broken inside', status.INTERNAL],
    ['denying access', status.PERMISSION_DENIED],
  ])('Pub/Sub that is %s is no fault of the events: nothing is lost, nothing overtakes', async (_, code) => {
    startBridge();
    await started();
    standIn.failPublish({ code, times: 3 });
    const positions = await emitItems(30, 2);
    await eventually(() => published().length === 30);
    expect(published().map(({ position }) => position)).toEqual(positions);
    expect(await parked()).toEqual([]);
  });

  test('an answer that is lost publishes again: the same positions, a stretch twice, nothing inverted', async () => {
    startBridge();
    await started();
    standIn.failPublish({ code: status.UNAVAILABLE, afterStoring: true, times: 2 });
    const positions = await emitItems(30, 3);
    await eventually(() => published().length === 90);
    for (const key of ['item:0', 'item:1', 'item:2']) {
      const own = positions.filter((_each, n) => `item:${n % 3}` === key);
      expect(positionsOf(key)).toEqual([...own, ...own, ...own]);
      expect(withoutRepeats(positionsOf(key))).toEqual(own);
    }
  });

  test('an event that Pub/Sub rejects is found by halves: each of the others is published once, none of its key after it', async () => {
    startBridge();
    await started();
    standIn.failPublish({ code: status.INVALID_ARGUMENT, orderingKey: 'bad', details: 'schema', times: 100 });
    const positions = await transaction(
      database.pool,
      async (client) =>
        await emitAll(
          client,
          Array.from({ length: 40 }, (_each, n): NewEvent => {
            return {
              topic: 'item.upserted',
              key: n === 13 || n === 30 ? 'bad' : `item:${n % 4}`,
              payload: { n },
            };
          }),
        ),
    );
    await eventually(async () => (await parked()).length === 2);
    await eventually(() => published().length === 38);
    expect(await parked()).toMatchObject([
      {
        position: positions[13],
        state: 'dead',
        reason: expect.stringMatching(/^PUBSUB_SINK_REJECTED: .*schema/),
      },
      { position: positions[30], state: 'parked' },
    ]);
    expect(published().map(({ position }) => position)).toEqual(
      positions.filter((position) => position !== positions[13] && position !== positions[30]),
    );
  });

  test('one that stops is followed by another from the same place', async () => {
    const first = startBridge();
    await started();
    const positions = [...(await emitItems(300, 5))];
    await eventually(() => published().length > 0);
    await first.stop();
    startBridge();
    positions.push(...(await emitItems(20, 5)));
    await eventually(() => new Set(published().map(({ position }) => position)).size === 320);
    for (let n = 0; n < 5; n += 1) expect(isAscending(withoutRepeats(positionsOf(`item:${n}`)))).toBe(true);
    expect([...new Set(published().map(({ position }) => position))].toSorted((a, b) => a - b)).toEqual(
      positions,
    );
  });

  test('nothing is published once the batch is aborted', async () => {
    const bridge = createBridge({ connection: topic.connection, topic: topic.topic, events: ['*'] });
    bridges.push(bridge);
    const event = { position: 1, topic: 'a', key: null, payload: 1, headers: {}, createdAt: new Date() };
    const lost = new Error('the lease is lost');
    const publishing = bridge.handler(
      { group: 'bridge', lane: 0, events: [event] },
      {
        signal: AbortSignal.abort(lost),
        fencingToken: 1,
        progress: () => undefined,
        log: createLogger({ worker: 'test', destination: { write: () => undefined } }),
      },
    );
    await expect(publishing).rejects.toBe(lost);
    expect(published()).toEqual([]);
  });

  test.each([
    [{ topic: 'x' }, 'expected a topic of Pub/Sub such as "events"'],
    [{ topic: 'googs' }, 'got "googs"'],
    [{ topic: 'projects/acme/subscriptions/events' }, 'got "projects/acme/subscriptions/events"'],
    [{ events: [] }, 'got none'],
    [{ events: ['*.upserted'] }, 'got "*.upserted"'],
  ])('%j is refused at the start', (options, message) => {
    expect(() => startBridge(options)).toThrow(
      expect.objectContaining({ code: 'PUBSUB_NAME_INVALID', message: expect.stringContaining(message) }),
    );
  });
});

// What only the stand-in can do: answer keep-alives, fall silent, end streams as Google does.

import { status } from '@grpc/grpc-js';
import { createLogger, createWorker } from '@pulsebox/loop';
import type { Worker } from '@pulsebox/loop';
import { pullLoop, pullMetrics } from '@pulsebox/pubsub';
import type { PullLoopOptions } from '@pulsebox/pubsub';
import { eventually, startPubSubStandIn, tcpProxy } from '@pulsebox/test-support';
import type { PubSubStandIn } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestTopic } from './pubsub-servers.ts';
import type { TestTopic } from './pubsub-servers.ts';
import { runLoop } from './running-loop.ts';

let standIn: PubSubStandIn;
let topic: TestTopic;
let worker: Worker | undefined;

beforeEach(async () => {
  standIn = await startPubSubStandIn({ keepAliveEveryMs: 50 });
  topic = await createTestTopic(standIn.host);
});
afterEach(async () => {
  await worker?.stop();
  worker = undefined;
  await topic.close();
  await standIn.close();
});

function loopOptions(options: Partial<PullLoopOptions> = {}): PullLoopOptions {
  return {
    connection: topic.connection,
    subscription: topic.subscription,
    handler: async () => undefined,
    keepAlivesAnswered: true,
    cadenceMs: 100,
    silenceMs: 500,
    lossMs: 300,
    ...options,
  };
}

/** As a worker runs it, with a sidecar that answers for it. */
async function startWorker(options: Partial<PullLoopOptions> = {}): Promise<Worker> {
  worker = createWorker({
    name: 'watch-worker',
    version: '0.0.0',
    port: 0,
    host: '127.0.0.1',
    loops: [pullLoop(loopOptions(options))],
    once: false,
    log: createLogger({ worker: 'test', destination: { write: () => undefined } }),
    stalenessMultiplier: 3,
  });
  await worker.start();
  return worker;
}

async function health(path = '/health'): Promise<number> {
  return (await fetch(`http://127.0.0.1:${worker?.port}${path}`)).status;
}

async function healthUntil(answer: number, path?: string): Promise<void> {
  await eventually(async () => (await health(path)) === answer);
}

test('an idle subscription is no stall: whoever answers keep-alives is well', async () => {
  await startWorker();
  await healthUntil(200, '/health/ready');
  const opened = standIn.streamsOpened;
  // Many times the silence that would count as death.
  const untilMs = performance.now() + 2_500;
  await eventually(async () => {
    expect(await health()).toBe(200);
    expect(await health('/health/ready')).toBe(200);
    return performance.now() > untilMs;
  });
  expect(standIn.streamsOpened).toBe(opened);
});

test('a stream that is taken and never answers is a stall, and its first sign of life ends that', async () => {
  standIn.silence(true);
  await startWorker();
  await healthUntil(503);
  standIn.silence(false);
  await healthUntil(200);
  await healthUntil(200, '/health/ready');
});

test('a stream that falls silent is a stall, and what was published meanwhile comes when it is over', async () => {
  const taken: string[] = [];
  await startWorker({
    handler: async (messages) => void taken.push(...messages.map(({ data }) => String(data))),
  });
  await topic.publish('before');
  await eventually(() => taken.includes('before'));
  standIn.silence(true);
  await topic.publish('meanwhile');
  await healthUntil(503);
  standIn.silence(false);
  await healthUntil(200);
  await eventually(() => taken.includes('meanwhile'));
});

test('a network that swallows everything is a stall', async () => {
  const proxy = await tcpProxy(`tcp://${standIn.host}`);
  await startWorker({ connection: { ...topic.connection, emulatorHost: new URL(proxy.url).host } });
  await healthUntil(200, '/health/ready');
  proxy.stall();
  await healthUntil(503);
  proxy.restore();
  await healthUntil(200);
  await worker?.stop();
  await proxy.close();
});

test.each([
  ['refuses', status.UNAVAILABLE],
  ['refuses by what the client does not try again', status.PERMISSION_DENIED],
  ['ends without an error', status.OK],
])('a server that %s every stream leaves the worker alive and not ready', async (_, code) => {
  await startWorker();
  await healthUntil(200, '/health/ready');
  standIn.endStreams(code, 'as the test wants it', true);
  await healthUntil(503, '/health/ready');
  expect(await health()).toBe(200);
  standIn.welcomeStreams();
  await healthUntil(200, '/health/ready');
});

test('streams that Google ends as a routine are no error', async () => {
  const registry = new Registry();
  const taken: string[] = [];
  const running = runLoop(
    pullLoop(
      loopOptions({
        metrics: pullMetrics(registry),
        handler: async (messages) => void taken.push(...messages.map(({ data }) => String(data))),
        lossMs: 5_000,
      }),
    ),
  );
  await eventually(() => standIn.streamsOpen === 1);
  for (const [n, code] of [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.INTERNAL].entries()) {
    const opened = standIn.streamsOpened;
    standIn.endStreams(code, 'The service was unable to fulfill your request.');
    await eventually(() => standIn.streamsOpened > opened && standIn.streamsOpen === 1);
    await topic.publish(`after ${n}`);
    await eventually(() => taken.includes(`after ${n}`));
  }
  await eventually(async () => (await registry.metrics()).includes('pubsub_streams_lost_total 3'));
  expect(await registry.metrics()).toContain('pubsub_stream_up 1');
  await running.stop();
  expect(running.errors).toEqual([]);
  expect(await registry.metrics()).toContain('pubsub_stream_up 0');
});

test('a denied stream says which role is missing', async () => {
  standIn.endStreams(status.PERMISSION_DENIED, 'User not authorized to perform this action.', true);
  const running = runLoop(pullLoop(loopOptions()));
  const error = await eventually(() => running.errors[0]);
  expect(error).toMatchObject({
    code: 'PUBSUB_ACCESS_DENIED',
    hint: expect.stringContaining('roles/pubsub.subscriber'),
  });
  await running.stop();
});

test('what is handled is acknowledged once, and nothing is left on lease', async () => {
  const running = runLoop(pullLoop(loopOptions()));
  const ids = await Promise.all(Array.from({ length: 200 }, async (_each, n) => await topic.publish(`${n}`)));
  await eventually(() => running.events === 200);
  await running.stop();
  const subscription = standIn.subscription(topic.subscription);
  expect(subscription.acknowledged.toSorted()).toEqual(ids.toSorted());
  expect(subscription.backlog).toBe(0);
  expect(subscription.deliveries).toHaveLength(200);
});

test('a stop with messages in flight acknowledges them before it ends: nothing is delivered twice', async () => {
  const inFlight = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  let handled = 0;
  const running = runLoop(
    pullLoop(
      loopOptions({
        batchSize: 7,
        gatherMs: 200,
        handler: async (messages) => {
          inFlight.resolve();
          await goOn.promise;
          handled += messages.length;
        },
      }),
    ),
  );
  await Promise.all(Array.from({ length: 50 }, async (_each, n) => await topic.publish(`${n}`)));
  await inFlight.promise;
  const stopped = running.stop();
  goOn.resolve();
  await stopped;
  const subscription = standIn.subscription(topic.subscription);
  expect(handled).toBeGreaterThanOrEqual(7);
  expect(subscription.acknowledged).toHaveLength(handled);
  expect(subscription.backlog).toBe(50 - handled);
  expect(new Set(subscription.deliveries.map(({ message }) => message.messageId)).size).toBe(
    subscription.deliveries.length,
  );
  expect(subscription.onLease).toBe(0);
});

test('no more messages are held than the flow control says', async () => {
  const goOn = Promise.withResolvers<void>();
  let most = 0;
  const running = runLoop(
    pullLoop(
      loopOptions({
        maxMessages: 10,
        gatherMs: 200,
        handler: async (messages) => {
          most = Math.max(most, messages.length, standIn.subscription(topic.subscription).onLease);
          await goOn.promise;
        },
      }),
    ),
  );
  await Promise.all(Array.from({ length: 60 }, async (_each, n) => await topic.publish(`${n}`)));
  await eventually(() => most > 0);
  goOn.resolve();
  await eventually(() => running.events === 60);
  expect(most).toBeLessThanOrEqual(10);
  await running.stop();
});

test('a batch has no more messages than it may', async () => {
  const sizes: number[] = [];
  const running = runLoop(
    pullLoop(
      loopOptions({
        batchSize: 25,
        gatherMs: 200,
        handler: async (messages) => void sizes.push(messages.length),
      }),
    ),
  );
  await Promise.all(Array.from({ length: 100 }, async (_each, n) => await topic.publish(`${n}`)));
  await eventually(() => running.events === 100);
  expect(Math.max(...sizes)).toBe(25);
  await running.stop();
});

test('starts and stops in any order leave nothing behind', async () => {
  for (let n = 0; n < 5; n += 1) {
    const loop = pullLoop(loopOptions());
    await loop.stop?.();
    const running = runLoop(loop);
    if (n % 2 === 0) await eventually(() => running.ticks > 0);
    await running.stop();
    await loop.stop?.();
  }
  await eventually(() => standIn.streamsOpen === 0);
});

import { randomBytes } from 'node:crypto';
import { recordNotifications } from '@pulsebox/gmail';
import { mailNotifications, pullLoop, pullMetrics } from '@pulsebox/pubsub';
import type { PullHandler, PullLoopOptions } from '@pulsebox/pubsub';
import { createTestDatabase, eventually, tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy, TestDatabase } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createTestTopic, pubsubServers } from './pubsub-servers.ts';
import type { PubSubServer, TestTopic } from './pubsub-servers.ts';
import { runLoop } from './running-loop.ts';
import type { RunningLoop } from './running-loop.ts';

describe.each(pubsubServers)('with %s', (name, start) => {
  let server: PubSubServer;
  let proxy: TcpProxy;
  let database: TestDatabase;
  let topic: TestTopic;
  let pulling: RunningLoop | undefined;

  beforeAll(async () => {
    [server, database] = await Promise.all([start(), createTestDatabase(inject('serverUrl'))]);
    proxy = await tcpProxy(`tcp://${server.host}`);
  });
  afterAll(async () => {
    await proxy.close();
    await server.close();
    await database.drop();
  });
  beforeEach(async () => {
    await database.pool.query('truncate app.mail_connections cascade');
    await database.pool.query('truncate pubsub.dead_letter');
    topic = await createTestTopic(server.host);
  });
  afterEach(async () => {
    await pulling?.stop();
    pulling = undefined;
    await topic.close();
  });

  /** Its traffic goes through the proxy, so that a test can break it. */
  function pull(options: Partial<PullLoopOptions> = {}): RunningLoop {
    const { subscription } = topic;
    pulling = runLoop(
      pullLoop({
        connection: { ...topic.connection, emulatorHost: new URL(proxy.url).host },
        subscription,
        handler: mailNotifications({ pool: database.pool, subscription, record: recordNotifications }),
        ...options,
      }),
    );
    return pulling;
  }

  /** Ids of the connections, whose events are then told from those of other tests. */
  async function connect(...emails: string[]): Promise<string[]> {
    const { rows } = await database.pool.query<{ connection_id: string }>(
      `insert into app.mail_connections (user_id, org_id, email, refresh_token)
       select 'user ' || n, 'acme', email, 'v1.none' from unnest($1::text[]) with ordinality as e(email, n)
       returning connection_id`,
      [emails],
    );
    return rows.map((row) => row.connection_id);
  }

  /** History ids that were emitted for a connection, in the order of the log. */
  async function emittedFor(connection: string | undefined): Promise<string[]> {
    const { rows } = await database.pool.query<{ history_id: string }>(
      `select payload ->> 'history_id' as history_id from outbox.event
       where topic = 'mail.changed' and payload ->> 'connection_id' = $1 order by seq`,
      [connection],
    );
    return rows.map((row) => row.history_id);
  }

  async function letters(): Promise<
    { message_id: string; reason: string; data: Buffer; attributes: unknown }[]
  > {
    const { rows } = await database.pool.query<Awaited<ReturnType<typeof letters>>[number]>(
      'select message_id, reason, data, attributes from pubsub.dead_letter order by received_at, message_id',
    );
    return rows;
  }

  test('a notification becomes an event of every connection that has the address, whatever its case', async () => {
    const [ada, other, grace] = await connect('Ada@Example.com', 'ADA@example.com', 'grace@example.com');
    pull();
    await topic.notify('aDa@eXample.com', 18_446_744_073_709_551_615n);
    await eventually(async () => (await emittedFor(other)).length === 1);
    expect(await emittedFor(ada)).toEqual(['18446744073709551615']);
    expect(await emittedFor(grace)).toEqual([]);
  });

  test('a burst that comes in disorder and twice becomes one event with the newest history id', async () => {
    const [ada] = await connect('ada@example.com');
    const ids = [7, 100, 9, 99, 100, 8, 20, 100, 7];
    await Promise.all(ids.map(async (id) => await topic.notify('ada@example.com', id)));
    pull({ gatherMs: 300 });
    await eventually(() => pulling?.events === ids.length);
    expect(await emittedFor(ada)).toEqual(['100']);
  });

  test('what is older than what was told before is dropped', async () => {
    const [ada] = await connect('ada@example.com');
    pull();
    await topic.notify('ada@example.com', '10000000000000000001');
    await eventually(() => pulling?.events === 1);
    await topic.notify('ada@example.com', '9999999999999999999');
    await topic.notify('ada@example.com', '10000000000000000001');
    await eventually(() => pulling?.events === 3);
    await topic.notify('ada@example.com', '10000000000000000002');
    await eventually(() => pulling?.events === 4);
    expect(await emittedFor(ada)).toEqual(['10000000000000000001', '10000000000000000002']);
  });

  test('what cannot be parsed is kept once, with the reason, and does not hold up what comes after it', async () => {
    const [ada] = await connect('ada@example.com');
    const registry = new Registry();
    const { subscription } = topic;
    const metrics = pullMetrics(registry);
    pull({
      metrics,
      handler: mailNotifications({ pool: database.pool, subscription, record: recordNotifications, metrics }),
    });
    const rubbish: readonly (string | Uint8Array)[] = [
      'not json',
      randomBytes(300),
      Buffer.from([0, 0xff, 0]),
      '[]',
      'null',
      '{}',
      '{"emailAddress":"ada@example.com"}',
      '{"emailAddress":"ada@example.com","historyId":"-1"}',
      '{"emailAddress":"ada@example.com","historyId":"18446744073709551616"}',
      '{"emailAddress":"ada@example.com","historyId":1.5}',
      '{"emailAddress":"a\\u0000@example.com","historyId":"1"}',
      '{"emailAddress":42,"historyId":"1"}',
      '{"emailAddress":"ada@example.com","historyId":-7}',
      '{"emailAddress":"ada@example.com","historyId":1e30}',
      '{"emailAddress":"ada@example.com","historyId":"0"}',
      '{"emailAddress":"ada@example.com","historyId":["5"]}',
      `{"emailAddress":"${'a'.repeat(10_000)}@example.com","historyId":"1"}`,
      '{"emailAddress":"ada@example.com\\r\\nbcc: eve@example.com","historyId":"1"}',
      '{"emailAddress":"ada@example.com"'.padEnd(1_000_000),
      `{"a":`.repeat(100_000),
    ];
    for (const data of rubbish)
      await topic.publish(data, { 'ce-type': 'half a \ud83d surrogate'.toWellFormed() });
    await topic.notify('ada@example.com', 5);
    await eventually(async () => (await emittedFor(ada)).length === 1);
    await eventually(async () => (await letters()).length === rubbish.length);
    expect((await letters()).map(({ data }) => data.toString('hex')).toSorted()).toEqual(
      rubbish.map((data) => Buffer.from(data as string).toString('hex')).toSorted(),
    );
    for (const { reason } of await letters()) expect(reason).toMatch(/^expected .+, got .+$/);
    await eventually(() => pulling?.events === rubbish.length + 1);
    expect(pulling?.errors).toEqual([]);
    expect(await registry.metrics()).toContain(`pubsub_dead_letters ${rubbish.length}\n`);
    expect(await registry.metrics()).toContain(
      `pubsub_messages_total{outcome="unparseable"} ${rubbish.length}\n`,
    );
    expect(pulling?.logged.filter(({ level }) => level === 'warn')).toHaveLength(rubbish.length);
  });

  test('an address that nobody has connected is passed over', async () => {
    const [ada] = await connect('ada@example.com');
    pull();
    await topic.notify('nobody@example.com', 1);
    await topic.notify('ada@example.com', 2);
    await eventually(async () => (await emittedFor(ada)).length === 1);
    expect(await letters()).toEqual([]);
  });

  test('a history id that came as a JSON number loses no digit', async () => {
    const [ada] = await connect('ada@example.com');
    pull();
    await topic.publish('{"emailAddress":"ada@example.com","historyId":9007199254740993}');
    await eventually(async () => (await emittedFor(ada)).length === 1);
    expect(await emittedFor(ada)).toEqual(['9007199254740993']);
  });

  test('messages that could not be handled stay leased, and are handed over again until they can be', async () => {
    const [ada] = await connect('ada@example.com');
    const handler = mailNotifications({
      pool: database.pool,
      subscription: topic.subscription,
      record: recordNotifications,
    });
    const seen: string[] = [];
    let failures = 3;
    pull({
      handler: async (messages, context) => {
        seen.push(...messages.map(({ id }) => id));
        if (failures > 0) {
          failures -= 1;
          throw new Error('the database is away');
        }
        await handler(messages, context);
      },
    });
    const id = await topic.notify('ada@example.com', 5);
    await eventually(async () => (await emittedFor(ada)).length === 1);
    expect(seen).toEqual([id, id, id, id]);
    expect(pulling?.errors).toHaveLength(3);
  });

  test('a worker that dies between commit and acknowledgement gets the message again, and emits nothing twice', async () => {
    const [ada] = await connect('ada@example.com');
    const handler = mailNotifications({
      pool: database.pool,
      subscription: topic.subscription,
      record: recordNotifications,
    });
    const committed = Promise.withResolvers<void>();
    const id = await topic.notify('ada@example.com', 5);
    // Its stop, below, is what a process that is killed leaves to Pub/Sub: a message that was not acknowledged.
    const dying = runLoop(
      pullLoop({
        connection: topic.connection,
        subscription: topic.subscription,
        handler: async (messages, context) => {
          await handler(messages, context);
          committed.resolve();
          throw new Error('killed');
        },
        closeMs: 100,
      }),
    );
    await committed.promise;
    await dying.stop();
    expect(await emittedFor(ada)).toEqual(['5']);

    const seen: string[] = [];
    pull({
      handler: async (messages, context) => {
        await handler(messages, context);
        seen.push(...messages.map((message) => message.id));
      },
    });
    await eventually(() => seen.includes(id));
    await topic.notify('ada@example.com', 6);
    await eventually(async () => (await emittedFor(ada)).length === 2);
    expect(await emittedFor(ada)).toEqual(['5', '6']);
  });

  test('a stop finishes and acknowledges what is in flight: nothing of it is delivered again', async () => {
    const taken: string[] = [];
    const inFlight = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const handler: PullHandler = async (messages) => {
      inFlight.resolve();
      await goOn.promise;
      taken.push(...messages.map(({ id }) => id));
    };
    const published = await Promise.all(
      Array.from({ length: 20 }, async (_each, n) => await topic.publish(`message ${n}`)),
    );
    const first = pull({ handler, batchSize: 5, gatherMs: 100 });
    await inFlight.promise;
    const stopped = first.stop();
    goOn.resolve();
    await stopped;

    // The second one gets what the first had not taken in, and a last message, and none of the others.
    const again: string[] = [];
    pull({ handler: async (messages) => void again.push(...messages.map(({ id }) => id)) });
    const last = await topic.publish('last');
    await eventually(() => again.includes(last) && taken.length + again.length === published.length + 1);
    expect(new Set([...taken, ...again])).toEqual(new Set([...published, last]));
    expect(taken.length).toBeGreaterThanOrEqual(5);
    expect(first.errors).toEqual([]);
  });

  test('a stop while the handler fails gives everything back at once', async () => {
    const id = await topic.publish('x');
    const first = pull({
      handler: () => Promise.reject(new Error('the database is away')),
    });
    await eventually(() => first.errors.length > 1);
    await first.stop();
    const again: string[] = [];
    pull({ handler: async (messages) => void again.push(...messages.map((message) => message.id)) });
    await eventually(() => again.includes(id));
  });

  test('a connection that is cut is made again, and nothing is lost', async () => {
    const [ada, bob] = await connect('ada@example.com', 'bob@example.com');
    pull({ lossMs: 200 });
    await topic.notify('ada@example.com', 1);
    await eventually(async () => (await emittedFor(ada)).length === 1);
    // The emulator never notices that a stream is dead. What it hands to one comes back after 10 s, and then goes to any
    // stream at all, dead ones included: a matter of luck, and with every cut of more of it.
    const cuts = name === 'the stand-in' ? [2, 3] : [2];
    for (const id of cuts) {
      const failures = pulling?.errors.length ?? 0;
      proxy.cut();
      await eventually(() => (pulling?.errors.length ?? 0) > failures);
      await topic.notify('ada@example.com', id);
      proxy.restore();
      // Made again: of what is published from now on, some comes at once.
      let later = 0;
      await eventually(
        async () => {
          await topic.notify('bob@example.com', id * 1_000 + (later += 1));
          return Number((await emittedFor(bob)).at(-1) ?? 0) > id * 1_000;
        },
        { everyMs: 250 },
      );
      // Nothing lost: what was published while there was no connection comes as well.
      await eventually(async () => (await emittedFor(ada)).at(-1) === String(id), { withinMs: 300_000 });
    }
  }, 600_000);

  test('while the server is away ticks fail with what to do, and go on when it is back', async () => {
    const [ada] = await connect('ada@example.com');
    proxy.cut();
    pull({ lossMs: 200 });
    const error = await eventually(() => pulling?.errors[0] as Record<string, unknown> | undefined);
    expect(error).toMatchObject({ code: 'PUBSUB_STREAM_LOST', hint: expect.stringContaining('by itself') });
    proxy.restore();
    await topic.notify('ada@example.com', 1);
    await eventually(async () => (await emittedFor(ada)).length === 1);
  });

  test('a subscription that does not exist is named, and read as soon as somebody has made it', async () => {
    const missing = `${topic.topic}-later`;
    const taken: string[] = [];
    pull({
      subscription: missing,
      handler: async (messages) => void taken.push(...messages.map(({ data }) => data.toString())),
    });
    const error = await eventually(() => pulling?.errors[0] as Record<string, unknown> | undefined);
    expect(error).toMatchObject({
      code: 'PUBSUB_SUBSCRIPTION_UNKNOWN',
      message: expect.stringContaining(missing),
    });
    await topic.client.topic(topic.topic).createSubscription(missing);
    await topic.publish('made');
    await eventually(() => taken.includes('made'));
  });
});

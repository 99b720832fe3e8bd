// Stands in for Google Pub/Sub where its emulator is not on the machine, and wherever a test needs what the emulator
// does not do: to answer keep-alives, to fall silent, to end streams, to refuse publishes.
//
// It speaks gRPC, made of the protocol files that Google's own client ships.

import { createRequire } from 'node:module';
import type {
  status as Status,
  ServerDuplexStream,
  ServiceDefinition,
  UntypedServiceImplementation,
  handleUnaryCall,
} from '@grpc/grpc-js';
import type { fromJSON } from '@grpc/proto-loader';
import { StandInSubscription } from './pubsub-state.ts';
import type { Delivery, Outlet, StoredMessage } from './pubsub-state.ts';

export interface PublishFault {
  readonly code: Status;
  readonly details?: string;
  /** Only requests with a message of this ordering key. Default: all. */
  readonly orderingKey?: string;
  /** Store the messages before refusing: the answer is lost, not the publish. Default false. */
  readonly afterStoring?: boolean;
  /** How many requests are refused. Default 1. */
  readonly times?: number;
}

export interface PubSubStandIn {
  /** `host:port`, for PUBSUB_EMULATOR_HOST. */
  readonly host: string;
  /** By short name. */
  subscription(name: string): StandInSubscription;
  /** Everything that was published to the topic of this short name, in order. */
  published(topic: string): readonly StoredMessage[];
  /** How many streaming pulls have been opened. */
  readonly streamsOpened: number;
  readonly streamsOpen: number;
  /** Streams are taken and nothing is said on them, no message and no answer to a keep-alive, until it is called with false. */
  silence(silent: boolean): void;
  /** Ends every stream with this status, and with `refuseNew` the next ones at once, until it is called without. */
  endStreams(code: Status, details: string, refuseNew?: boolean): void;
  welcomeStreams(): void;
  /** Acknowledgements are neither taken nor answered, until it is called with false. */
  ignoreAcknowledgements(ignore: boolean): void;
  failPublish(fault: PublishFault): void;
  /** Forgets what was published, delivered and acknowledged; what is not acknowledged stays. */
  forget(): void;
  close(): Promise<void>;
}

type Reply<T> = Parameters<handleUnaryCall<unknown, T>>[1];

interface PullRequest {
  readonly subscription: string;
  readonly streamAckDeadlineSeconds: number;
  readonly maxOutstandingMessages: string;
}

interface PullResponse {
  readonly receivedMessages?: readonly unknown[];
  readonly subscriptionProperties?: { readonly messageOrderingEnabled: boolean };
}

const LARGEST_REQUEST = 10 * 1024 * 1024;

export interface PubSubStandInOptions {
  /** Default 0: any that is free. */
  readonly port?: number;
  /** Say something on every stream this often, unasked. Google only answers, and is asked every 30 s. Default: never. */
  readonly keepAliveEveryMs?: number;
  /** Told of what is published, before it is answered: for measurements. */
  readonly onPublished?: (topic: string, messages: readonly StoredMessage[]) => void;
}

export async function startPubSubStandIn(options: PubSubStandInOptions = {}): Promise<PubSubStandIn> {
  // Loaded here: every test file imports this package, and few want gRPC.
  const { Server, ServerCredentials, status } = await import('@grpc/grpc-js');
  const topics = new Map<string, StoredMessage[]>();
  const subscriptions = new Map<string, StandInSubscription>();
  const streams = new Set<ServerDuplexStream<PullRequest, PullResponse>>();
  const faults: { fault: PublishFault; left: number }[] = [];
  let silent = false;
  let deaf = false;
  let refusal: { readonly code: Status; readonly details: string } | undefined;
  let opened = 0;
  let messageIds = 0;

  function publish(call: { request: unknown }, reply: Reply<unknown>): void {
    const { topic, messages } = call.request as {
      topic: string;
      messages: readonly { data: Buffer; attributes: Record<string, string>; orderingKey: string }[];
    };
    const stored = topics.get(topic);
    if (stored === undefined) {
      reply({ code: status.NOT_FOUND, details: `Topic not found (resource=${topic}).` });
      return;
    }
    const size = messages.reduce((sum, message) => sum + messageSize(message), 0);
    if (size > LARGEST_REQUEST) {
      reply({ code: status.INVALID_ARGUMENT, details: 'The request is too large.' });
      return;
    }
    const hit = faults.find(
      ({ fault: { orderingKey }, left }) =>
        left > 0 &&
        (orderingKey === undefined || messages.some((message) => message.orderingKey === orderingKey)),
    );
    if (hit !== undefined) hit.left -= 1;
    if (hit === undefined || hit.fault.afterStoring === true) {
      const taken = messages.map(({ data, attributes, orderingKey }): StoredMessage => {
        messageIds += 1;
        return { messageId: String(messageIds), data, attributes, orderingKey, publishTime: new Date() };
      });
      stored.push(...taken);
      options.onPublished?.(topic, taken);
      for (const subscription of subscriptions.values()) {
        if (subscription.topic === topic) for (const message of taken) subscription.take(message);
      }
      if (hit === undefined) {
        reply(null, { messageIds: taken.map(({ messageId }) => messageId) });
        return;
      }
    }
    reply({ code: hit.fault.code, details: hit.fault.details ?? 'as the test wants it' });
  }

  function streamingPull(call: ServerDuplexStream<PullRequest, PullResponse>): void {
    opened += 1;
    if (refusal !== undefined) {
      call.emit('error', refusal);
      return;
    }
    streams.add(call);
    let subscription: StandInSubscription | undefined;
    let most = 0;
    const outlet: Outlet = {
      room: () => (silent || subscription === undefined ? 0 : most - subscription.onLease),
      send: (deliveries) =>
        void call.write({
          receivedMessages: deliveries.map(onTheWire),
          subscriptionProperties: { messageOrderingEnabled: subscription?.ordered === true },
        }),
    };
    const over = (): void => {
      streams.delete(call);
      subscription?.detach(outlet);
    };
    call.on('data', (request: PullRequest) => {
      if (subscription !== undefined) {
        // The client's keep-alive. Google answers it with an empty response.
        if (!silent) call.write({});
        return;
      }
      subscription = subscriptions.get(request.subscription);
      if (subscription === undefined) {
        over();
        call.emit('error', {
          code: status.NOT_FOUND,
          details: `Resource not found (resource=${request.subscription}).`,
        });
        return;
      }
      most = Number(request.maxOutstandingMessages) > 0 ? Number(request.maxOutstandingMessages) : 1_000;
      subscription.attach(outlet);
    });
    call.on('cancelled', over);
    call.on('error', over);
    call.on('end', () => {
      over();
      call.end();
    });
  }

  function withSubscription(
    call: { request: unknown },
    reply: Reply<unknown>,
    work: (subscription: StandInSubscription, request: Record<string, never>) => unknown,
  ): void {
    const request = call.request as Record<string, never>;
    const subscription = subscriptions.get(request['subscription'] ?? '');
    if (subscription === undefined) {
      reply({ code: status.NOT_FOUND, details: 'Subscription does not exist' });
      return;
    }
    reply(null, work(subscription, request) ?? {});
  }

  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const publisher: UntypedServiceImplementation = {
    createTopic(call: { request: { name: string } }, reply: Reply<unknown>): void {
      topics.set(call.request.name, []);
      reply(null, call.request);
    },
    publish,
  };
  const subscriber: UntypedServiceImplementation = {
    createSubscription(
      call: { request: { name: string; topic: string; enableMessageOrdering: boolean } },
      reply: Reply<unknown>,
    ): void {
      const { name, topic, enableMessageOrdering } = call.request;
      subscriptions.set(name, new StandInSubscription(name, topic, enableMessageOrdering));
      reply(null, call.request);
    },
    getSubscription: (call: { request: unknown }, reply: Reply<unknown>) =>
      withSubscription(call, reply, ({ name, topic }) => ({ name, topic })),
    acknowledge(call: { request: unknown }, reply: Reply<unknown>): void {
      if (deaf) return;
      withSubscription(call, reply, (subscription, { ackIds }) => subscription.acknowledge(ackIds ?? []));
    },
    modifyAckDeadline: (call: { request: unknown }, reply: Reply<unknown>) =>
      withSubscription(call, reply, (subscription, { ackIds, ackDeadlineSeconds }) =>
        subscription.extend(ackIds ?? [], Number(ackDeadlineSeconds)),
      ),
    streamingPull,
  };
  const services = await loadServices();
  server.addService(services.publisher, publisher);
  server.addService(services.subscriber, subscriber);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${options.port ?? 0}`, ServerCredentials.createInsecure(), (error, taken) =>
      error === null ? resolve(taken) : reject(error),
    );
  });

  const keepAlive =
    options.keepAliveEveryMs === undefined
      ? undefined
      : setInterval(() => {
          if (!silent) for (const stream of streams) stream.write({});
        }, options.keepAliveEveryMs).unref();

  return {
    host: `127.0.0.1:${bound}`,
    subscription(name): StandInSubscription {
      const found = [...subscriptions.values()].find((subscription) =>
        subscription.name.endsWith(`/${name}`),
      );
      if (found === undefined) throw new Error(`the stand-in has no subscription ${name}`);
      return found;
    },
    published: (name) => [...topics].find(([topic]) => topic.endsWith(`/${name}`))?.[1] ?? [],
    get streamsOpened(): number {
      return opened;
    },
    get streamsOpen(): number {
      return streams.size;
    },
    silence(now): void {
      silent = now;
      if (!silent) for (const subscription of subscriptions.values()) subscription.deliverDue();
    },
    endStreams(code, details, refuseNew = false): void {
      if (refuseNew) refusal = { code, details };
      for (const stream of streams) {
        // Status 0 is an end without an error.
        if (code === status.OK) stream.end();
        else stream.emit('error', { code, details });
      }
    },
    welcomeStreams(): void {
      refusal = undefined;
    },
    ignoreAcknowledgements(ignore): void {
      deaf = ignore;
    },
    failPublish(fault): void {
      faults.push({ fault, left: fault.times ?? 1 });
    },
    forget(): void {
      for (const messages of topics.values()) messages.length = 0;
      for (const subscription of subscriptions.values()) {
        subscription.deliveries.length = 0;
        subscription.acknowledged.length = 0;
      }
    },
    async close(): Promise<void> {
      clearInterval(keepAlive);
      for (const subscription of subscriptions.values()) subscription.stop();
      server.forceShutdown();
    },
  };
}

function onTheWire({ ackId, message, deliveryAttempt }: Delivery): unknown {
  const ms = message.publishTime.getTime();
  return {
    ackId,
    deliveryAttempt,
    message: {
      messageId: message.messageId,
      data: message.data,
      attributes: message.attributes,
      orderingKey: message.orderingKey,
      publishTime: { seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1e6 },
    },
  };
}

function messageSize(message: {
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  readonly orderingKey: string;
}): number {
  const attributes = Object.entries(message.attributes).flat().join('');
  return message.data.length + Buffer.byteLength(attributes) + Buffer.byteLength(message.orderingKey);
}

interface Services {
  readonly publisher: ServiceDefinition;
  readonly subscriber: ServiceDefinition;
}

async function loadServices(): Promise<Services> {
  const loader = await import('@grpc/proto-loader');
  const require = createRequire(import.meta.url);
  const fromClient = createRequire(require.resolve('@google-cloud/pubsub'));
  const protos = fromClient('@google-cloud/pubsub-api/build/protos/protos.json') as Parameters<
    typeof fromJSON
  >[0];
  const services = loader.fromJSON(protos, { longs: String, enums: String, defaults: true, arrays: true });
  return {
    publisher: services['google.pubsub.v1.Publisher'] as unknown as ServiceDefinition,
    subscriber: services['google.pubsub.v1.Subscriber'] as unknown as ServiceDefinition,
  };
}

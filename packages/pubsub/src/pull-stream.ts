// A streaming pull: what has come and waits to be handled, and whether more can come.

import { Duration, SubscriptionCloseBehaviors } from '@google-cloud/pubsub';
import type { PubSub, Subscription } from '@google-cloud/pubsub';
import { connect } from './connection.ts';
import type { PubSubConnection } from './credentials.ts';
import { watchStreams } from './stream-health.ts';
import type { StreamHealth } from './stream-health.ts';

/** A message as the handler of a pull gets it. */
export interface PulledMessage {
  /** Pub/Sub's own, unique in the topic. */
  readonly id: string;
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  readonly publishTime: Date;
}

export interface LeasedMessage extends PulledMessage {
  ack(): void;
  nack(): void;
}

export interface PullStreamOptions {
  readonly connection: PubSubConnection;
  readonly subscription: string;
  /** The most messages, and the most bytes of them, that are held at once. The server sends no more until some are acknowledged. */
  readonly maxMessages: number;
  readonly maxBytes: number;
  /** How long a close waits for messages in hand, in milliseconds. */
  readonly closeMs: number;
  /** Whether the server answers the empty messages that keep a stream alive. Google does; its emulator does not. */
  readonly keepAlivesAnswered: boolean;
}

export interface PullStream {
  readonly health: StreamHealth;
  /** Messages that have come and were not taken. */
  readonly waiting: number;
  /** Why the client has given up; undefined while it has not. It does not try again: open another stream. */
  readonly failure: Error | undefined;
  take(most: number): LeasedMessage[];
  /** They could not be handled: they come first in the next take. */
  giveBack(messages: readonly LeasedMessage[]): void;
  /** Resolves when something may have changed since the last call, after `ms` at most, or when the signal aborts. */
  changed(ms: number, signal: AbortSignal): Promise<void>;
  /** Asks the server for a sign of life where keep-alives bring none. */
  probe(): void;
  /**
   * Takes in nothing more. Resolves when everything that had come is acknowledged, or after `closeMs`. What is not taken
   * and acknowledged by then goes back to Pub/Sub.
   */
  close(): Promise<void>;
  /** Gives everything back to Pub/Sub, within two seconds. */
  abandon(): Promise<void>;
}

/** The client gives the last second of a close to sending acknowledgements. */
const LAST_SECOND_MS = 1_000;

const PROBE_EVERY_MS = 5_000;

/** @throws PUBSUB_CREDENTIALS_INVALID */
export function openStream(options: PullStreamOptions): PullStream {
  let queue: LeasedMessage[] = [];
  let failure: Error | undefined;
  let news = 0;
  let newsSeen = 0;
  let resume: (() => void) | undefined;
  let probedAtMs = performance.now();

  function wake(): void {
    news += 1;
    resume?.();
  }

  const health = watchStreams(wake);
  const client: PubSub = connect(options.connection, health.interceptor);
  const closeOptions = {
    behavior: SubscriptionCloseBehaviors.WaitForProcessing,
    timeout: Duration.from({ milliseconds: options.closeMs + LAST_SECOND_MS }),
  };
  const subscriberOptions = {
    // Excess messages are handed on at once: kept by the client they would never be, once a close has begun.
    flowControl: {
      maxMessages: options.maxMessages,
      maxBytes: options.maxBytes,
      allowExcessMessages: true,
    },
    streamingOptions: { maxStreams: 1, retryMaxBackoff: Duration.from({ seconds: 30 }) },
    closeOptions,
  };
  const subscription: Subscription = client.subscription(options.subscription, subscriberOptions);
  subscription.on('error', (error: Error) => {
    failure ??= error;
    wake();
  });
  subscription.on('close', () => {
    failure ??= new Error('the client closed the stream');
    wake();
  });
  subscription.on('message', (message: LeasedMessage) => {
    queue.push(message);
    wake();
  });

  let closing: Promise<void> | undefined;

  async function somethingNew(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resume = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      resume = done;
    });
  }

  /** Never rejects: there is nobody left whom a fault of a stream that is over would help. */
  async function closeAll(): Promise<void> {
    await subscription.close().catch(() => undefined);
    await client.close().catch(() => undefined);
    wake();
  }

  return {
    health,
    get waiting(): number {
      return queue.length;
    },
    get failure(): Error | undefined {
      return failure;
    },
    take: (most) => queue.splice(0, most),
    giveBack(messages): void {
      queue = [...messages, ...queue];
    },
    async changed(ms, signal): Promise<void> {
      // What happened since the last wait is news, too: it may have come while its caller was looking elsewhere.
      if (!signal.aborted && news === newsSeen) await somethingNew(ms, signal);
      newsSeen = news;
    },
    probe(): void {
      const atMs = performance.now();
      if (options.keepAlivesAnswered || atMs - probedAtMs < PROBE_EVERY_MS) return;
      probedAtMs = atMs;
      subscription.getMetadata().then(
        () => health.answered(),
        () => undefined,
      );
    },
    close: () => (closing ??= closeAll()),
    async abandon(): Promise<void> {
      subscription.setOptions({
        ...subscriberOptions,
        closeOptions: { ...closeOptions, timeout: Duration.from({ milliseconds: 2 * LAST_SECOND_MS }) },
      });
      for (const message of queue.splice(0)) message.nack();
      await (closing ??= closeAll());
    },
  };
}

// The way out: chosen topics of the log to a topic of Pub/Sub, in order for every key.

import { SinkError } from '@pulsebox/outbox';
import type { BatchOutcome, EventFailure, Handler, HandlerContext, OutboxEvent } from '@pulsebox/outbox';
import { bridgeMessage } from './bridge-message.ts';
import type { BridgeMessage } from './bridge-message.ts';
import { checkTopicName, topicFilter } from './bridge-topics.ts';
import type { PubSubConnection } from './credentials.ts';
import type { BridgeMetrics } from './pubsub-metrics.ts';
import type { Publisher } from './publisher.ts';

export interface BridgeOptions {
  readonly connection: PubSubConnection;
  /** The topic of Pub/Sub: `events`, or `projects/p/topics/events`. */
  readonly topic: string;
  /** Which topics of the log: `item.upserted`, `item.*`, `*`. */
  readonly events: readonly string[];
  readonly metrics?: BridgeMetrics | undefined;
  /** The longest one publish may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

export interface Bridge {
  readonly handler: Handler;
  close(): Promise<void>;
}

/** Of Pub/Sub, for one request. Bytes with some room for what gRPC adds. */
const MOST_MESSAGES = 1_000;
const MOST_BYTES = 9_000_000;

/**
 * The handler returns when Pub/Sub has confirmed every event of the batch, so the cursor moves only then.
 *
 * Order: one request is under way at a time, with messages of many keys in it, and the next is sent when it is confirmed.
 * A request is taken or refused as a whole. One that is refused for what is in it is sent again by halves until the events
 * are found that are bad; they are reported, and later ones of their keys are passed over. When Pub/Sub is away nothing
 * more is sent: the whole batch is published again, so that after a fault subscribers may see a stretch of a key twice,
 * in its order.
 *
 * @throws PUBSUB_NAME_INVALID, PUBSUB_CREDENTIALS_INVALID
 */
export function createBridge(options: BridgeOptions): Bridge {
  const { connection, metrics, timeoutMs = 10_000 } = options;
  const topic = checkTopicName(connection.projectId, options.topic);
  const isChosen = topicFilter(options.events);
  let publisher: Publisher | undefined;

  async function open(): Promise<Publisher> {
    if (publisher !== undefined) return publisher;
    // Google's client takes a quarter of a second to load: only who publishes pays for it.
    const { createPublisher } = await import('./publisher.ts');
    publisher = createPublisher({ connection, topic, timeoutMs });
    return publisher;
  }

  async function publish(
    messages: readonly BridgeMessage[],
    context: HandlerContext,
  ): Promise<EventFailure[]> {
    const [first] = messages;
    if (first === undefined) return [];
    context.signal.throwIfAborted();
    try {
      await (await open()).publish(messages);
      context.progress();
      metrics?.events.inc({ outcome: 'published' }, messages.length);
      metrics?.bytes.inc(messages.reduce((sum, { size }) => sum + size, 0));
      return [];
    } catch (error) {
      if (!(error instanceof SinkError) || error.kind === 'away') throw error;
      if (messages.length > 1) return await publishByHalves(messages, context);
      metrics?.events.inc({ outcome: 'rejected' });
      return [
        { position: first.event.position, reason: `${error.code}: ${error.message}`, retryable: false },
      ];
    }
  }

  async function publishByHalves(
    messages: readonly BridgeMessage[],
    context: HandlerContext,
  ): Promise<EventFailure[]> {
    const middle = Math.ceil(messages.length / 2);
    const failed = await publish(messages.slice(0, middle), context);
    return [
      ...failed,
      ...(await publish(withoutFailedKeys(messages.slice(middle), failed, messages), context)),
    ];
  }

  return {
    async handler({ events }, context): Promise<BatchOutcome> {
      const failed: EventFailure[] = [];
      const failedKeys = new Set<string>();
      let chunk: BridgeMessage[] = [];
      let chunkBytes = 0;

      const flush = async (): Promise<void> => {
        const sending = chunk.filter(({ orderingKey }) => !failedKeys.has(orderingKey));
        const byPosition = new Map(sending.map(({ event }) => [event.position, event]));
        chunk = [];
        chunkBytes = 0;
        for (const failure of await publish(sending, context))
          fail(failure, byPosition.get(failure.position));
      };
      const fail = (failure: EventFailure, event: OutboxEvent | undefined): void => {
        failed.push(failure);
        if (event?.key !== null && event?.key !== undefined) failedKeys.add(event.key);
      };

      for (const event of events) {
        if (!isChosen(event.topic)) {
          metrics?.events.inc({ outcome: 'passed_over' });
          continue;
        }
        const made = bridgeMessage(event);
        if (!made.fits) {
          // What came before it of its key is on its way first; what comes after it is not sent.
          await flush();
          if (event.key !== null && failedKeys.has(event.key)) continue;
          metrics?.events.inc({ outcome: 'rejected' });
          fail({ position: event.position, reason: made.reason, retryable: false }, event);
          continue;
        }
        if (chunk.length >= MOST_MESSAGES || chunkBytes + made.message.size > MOST_BYTES) await flush();
        chunk.push(made.message);
        chunkBytes += made.message.size;
      }
      await flush();
      return { failed };
    },
    async close(): Promise<void> {
      await publisher?.close();
    },
  };
}

function withoutFailedKeys(
  part: readonly BridgeMessage[],
  failed: readonly EventFailure[],
  whole: readonly BridgeMessage[],
): readonly BridgeMessage[] {
  if (failed.length === 0) return part;
  const positions = new Set(failed.map(({ position }) => position));
  const keys = new Set(
    whole.filter(({ event }) => positions.has(event.position)).map(({ orderingKey }) => orderingKey),
  );
  keys.delete('');
  return part.filter(({ orderingKey }) => !keys.has(orderingKey));
}

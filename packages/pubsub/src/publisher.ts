// One request to publish, confirmed or failed. No retries here: whoever delivers the log knows when to try again.

import type { BridgeMessage } from './bridge-message.ts';
import { connectPublisher } from './connection.ts';
import type { PubSubConnection } from './credentials.ts';
import { publishFault } from './publish-fault.ts';

export interface PublisherOptions {
  readonly connection: PubSubConnection;
  /** `projects/p/topics/events` */
  readonly topic: string;
  readonly timeoutMs: number;
}

export interface Publisher {
  /** Returns when Pub/Sub has stored all of them, in this order. @throws SinkError: it may have stored all, or none */
  publish(messages: readonly BridgeMessage[]): Promise<void>;
  close(): Promise<void>;
}

/** @throws PUBSUB_CREDENTIALS_INVALID */
export function createPublisher({ connection, topic, timeoutMs }: PublisherOptions): Publisher {
  const client = connectPublisher(connection);
  return {
    async publish(messages): Promise<void> {
      const request = {
        topic,
        messages: messages.map(({ data, attributes, orderingKey }) => ({ data, attributes, orderingKey })),
      };
      try {
        await client.publish(request, { timeout: timeoutMs, retry: null });
      } catch (error) {
        throw publishFault(error, topic);
      }
    },
    close: async () => await client.close(),
  };
}

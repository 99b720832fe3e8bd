// What one would write without a log: publish with the client for applications, so many at a time, and await them.

import { pubsubClient } from './pubsub-client.ts';

export interface PublishPlainInput {
  readonly host: string;
  readonly topic: string;
  readonly messages: number;
  readonly keys: number;
  readonly atATime: number;
  readonly ordered: boolean;
}

/** How long it took, in milliseconds. */
export default async function publishPlain(input: PublishPlainInput): Promise<number> {
  const { host, topic: name, messages, keys, atATime, ordered } = input;
  const client = pubsubClient(host);
  const topic = client.topic(name, { messageOrdering: ordered });
  // The first publish opens the connection.
  await topic.publishMessage({ data: Buffer.from('{}') });
  const startedAtMs = performance.now();
  for (let sent = 0; sent < messages; sent += atATime) {
    const size = Math.min(atATime, messages - sent);
    await Promise.all(
      Array.from({ length: size }, async (_each, n) =>
        topic.publishMessage({
          data: Buffer.from(JSON.stringify({ item_id: sent + n, org_id: 'acme' })),
          attributes: { position: String(sent + n), topic: 'item.upserted' },
          ...(ordered ? { orderingKey: `item:${(sent + n) % keys}` } : {}),
        }),
      ),
    );
  }
  const elapsedMs = performance.now() - startedAtMs;
  await client.close();
  return elapsedMs;
}

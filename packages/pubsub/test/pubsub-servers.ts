// Pub/Sub for tests: Google's emulator where it is on the machine, and the stand-in everywhere. Each test of both has
// a topic and a subscription of its own.

import { randomBytes } from 'node:crypto';
import { PubSub } from '@google-cloud/pubsub';
import type { Topic } from '@google-cloud/pubsub';
import type { PubSubConnection } from '@pulsebox/pubsub';
import { findPubSubEmulator, startPubSubEmulator, startPubSubStandIn } from '@pulsebox/test-support';

export interface PubSubServer {
  readonly host: string;
  close(): Promise<void>;
}

const jar = findPubSubEmulator();

/** For `describe.each`: a name, and how to start it. */
export const pubsubServers: readonly (readonly [string, () => Promise<PubSubServer>])[] = [
  ...(jar === undefined
    ? []
    : ([["Google's emulator", async () => await startPubSubEmulator(jar)]] as const)),
  ['the stand-in', async () => await startPubSubStandIn()],
];

export const PROJECT = 'pulsebox-test';

export interface TestTopic {
  readonly topic: string;
  readonly subscription: string;
  readonly connection: PubSubConnection;
  /** A client of the test's own. */
  readonly client: PubSub;
  publish(data: string | Uint8Array, attributes?: Record<string, string>): Promise<string>;
  notify(emailAddress: string, historyId: bigint | number | string): Promise<string>;
  close(): Promise<void>;
}

export interface TestTopicOptions {
  readonly ordered?: boolean;
}

export async function createTestTopic(host: string, options: TestTopicOptions = {}): Promise<TestTopic> {
  const client = new PubSub({
    projectId: PROJECT,
    apiEndpoint: host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
  const name = `mail-${randomBytes(4).toString('hex')}`;
  const [topic]: [Topic, unknown] = await client.createTopic(name);
  await topic.createSubscription(`${name}-sub`, { enableMessageOrdering: options.ordered === true });
  const publish = async (data: string | Uint8Array, attributes = {}): Promise<string> =>
    await topic.publishMessage({ data: Buffer.from(data as string), attributes });
  return {
    topic: name,
    subscription: `${name}-sub`,
    connection: { projectId: PROJECT, emulatorHost: host },
    client,
    publish,
    notify: async (emailAddress, historyId) =>
      await publish(JSON.stringify({ emailAddress, historyId: String(historyId) })),
    close: async () => await client.close(),
  };
}

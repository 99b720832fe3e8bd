// The bridge in a real worker: from the log to confirmed publishes, cursor stored.

import { createBridge } from '@pulsebox/pubsub';
import { drainWithWorker } from '../harness/bench-worker.ts';
import { PROJECT } from './pubsub-client.ts';

export interface PublishBridgeInput {
  readonly url: string;
  readonly host: string;
  readonly topic: string;
  readonly events: number;
  readonly batchSize: number;
}

/** How long it took, from the first look to the last cursor stored, in milliseconds. */
export default async function publishBridge(input: PublishBridgeInput): Promise<number> {
  const { url, host, topic, events, batchSize } = input;
  const bridge = createBridge({
    connection: { projectId: PROJECT, emulatorHost: host },
    topic,
    events: ['*'],
  });
  let startedAtMs = 0;
  let elapsedMs = 0;
  await drainWithWorker({ url, group: 'bridge', batchSize, handler: () => bridge.handler }, events, {
    start(): void {
      startedAtMs = performance.now();
    },
    progress: () => undefined,
    stop(): void {
      elapsedMs = performance.now() - startedAtMs;
    },
  });
  await bridge.close();
  return elapsedMs;
}

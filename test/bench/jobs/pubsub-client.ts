// The client that applications use, against the Pub/Sub of the benchmark.

import { PubSub } from '@google-cloud/pubsub';

export const PROJECT = 'pulsebox-bench';

export function pubsubClient(host: string): PubSub {
  return new PubSub({
    projectId: PROJECT,
    apiEndpoint: host,
    emulatorMode: true,
    clientOptions: { universeDomain: 'googleapis.com' },
  });
}

// What one would write: web-push's sendNotification, so many at a time.

import { Agent, globalAgent } from 'node:https';
import type { SubscriptionKeys, Vapid } from '@pulsebox/push';
import webPush from 'web-push';
import type { PushWorkerOutput } from './push-worker.ts';

export interface PushPlainInput {
  readonly ca: string;
  readonly vapid: Vapid;
  readonly subscriptions: readonly SubscriptionKeys[];
  readonly deliveries: number;
  readonly payload: string;
  readonly concurrency: number;
  /** An agent that keeps as many connections as there are requests at a time. False: whatever Node does by itself. */
  readonly ownAgent: boolean;
}

export default async function pushPlain(
  input: PushPlainInput,
): Promise<Pick<PushWorkerOutput, 'elapsedMs' | 'cpuSeconds'>> {
  const { ca, subscriptions, deliveries, payload, concurrency } = input;
  globalAgent.options.ca = ca;
  const agent = input.ownAgent ? new Agent({ ca, keepAlive: true, maxSockets: concurrency }) : undefined;
  const options = {
    vapidDetails: input.vapid,
    TTL: 86_400,
    contentEncoding: 'aes128gcm' as const,
    ...(agent === undefined ? {} : { agent }),
  };
  let next = 0;
  const sendSome = async (): Promise<void> => {
    for (let n = next++; n < deliveries; n = next++) {
      const subscription = subscriptions[n % subscriptions.length];
      if (subscription === undefined) throw new Error('no subscriptions');
      const { endpoint, p256dh, auth } = subscription;
      await webPush.sendNotification({ endpoint, keys: { p256dh, auth } }, payload, options);
    }
  };
  const cpuAtStart = process.cpuUsage();
  const startedAtMs = performance.now();
  await Promise.all(Array.from({ length: concurrency }, sendSome));
  const elapsedMs = performance.now() - startedAtMs;
  const { user, system } = process.cpuUsage(cpuAtStart);
  agent?.destroy();
  return { elapsedMs, cpuSeconds: (user + system) / 1e6 };
}

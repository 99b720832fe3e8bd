// What no sender can go below: a key pair and a key agreement for each delivery, and nothing else.

import { createECDH } from 'node:crypto';
import type { SubscriptionKeys } from '@pulsebox/push';

export interface PushFloorInput {
  readonly subscriptions: readonly SubscriptionKeys[];
  readonly deliveries: number;
}

/** CPU that it took, in seconds. */
export default async function pushFloor({ subscriptions, deliveries }: PushFloorInput): Promise<number> {
  const theirs = subscriptions.map(({ p256dh }) => Buffer.from(p256dh, 'base64url'));
  const cpuAtStart = process.cpuUsage();
  for (let n = 0; n < deliveries; n += 1) {
    const ours = createECDH('prime256v1');
    ours.generateKeys();
    ours.computeSecret(theirs[n % theirs.length] ?? Buffer.alloc(0));
  }
  const { user, system } = process.cpuUsage(cpuAtStart);
  return (user + system) / 1e6;
}

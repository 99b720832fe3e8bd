// The push service in a process of its own: TLS, some latency, and nothing checked, so that it keeps up with everybody.

import { startPushService } from '@pulsebox/test-support';
import type { Channel } from '../harness/channel.ts';

export interface PushServiceInput {
  readonly latencyMs: number;
}

export interface PushServiceSaid {
  readonly origin: string;
  readonly ca: string;
}

export default async function pushService(
  { latencyMs }: PushServiceInput,
  channel: Channel,
): Promise<number> {
  const service = await startPushService({ latencyMs, check: false });
  const said: PushServiceSaid = { origin: service.origin, ca: service.ca };
  channel.ready(said);
  await channel.stopped;
  await service.close();
  return service.counts.requests;
}

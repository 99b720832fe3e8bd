// Pub/Sub in a process of its own: Google's emulator where it is on the machine, else the stand-in.

import { findPubSubEmulator, startPubSubEmulator, startPubSubStandIn } from '@pulsebox/test-support';
import type { Channel } from '../harness/channel.ts';

export interface PubSubServerInput {
  readonly port: number;
}

export default async function pubsubServer({ port }: PubSubServerInput, channel: Channel): Promise<void> {
  const jar = findPubSubEmulator();
  const server =
    jar === undefined ? await startPubSubStandIn({ port }) : await startPubSubEmulator(jar, port);
  channel.ready();
  await channel.stopped;
  await server.close();
}

// The stand-in for Meilisearch in a process of its own, as the real one would be.

import { startMeilisearchStandIn } from '@pulsebox/test-support';
import type { Channel } from '../harness/channel.ts';

export interface MeilisearchInput {
  readonly port: number;
  /** How long one task takes, whatever is in it. */
  readonly taskMs: number;
}

/** It records every request for tests to look at; nobody looks here. */
const FORGET_EVERY_MS = 200;

export default async function meilisearch(
  { port, taskMs }: MeilisearchInput,
  channel: Channel,
): Promise<void> {
  const standIn = await startMeilisearchStandIn({ port, taskMs });
  const forgetting = setInterval(() => standIn.forgetRequests(), FORGET_EVERY_MS);
  channel.ready();
  await channel.stopped;
  clearInterval(forgetting);
  await standIn.close();
}

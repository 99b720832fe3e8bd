// A redis-server for BullMQ where one is installed. It keeps nothing on disk: the fastest it can be.

import { freePort } from '@pulsebox/test-support';
import type { RedisInput } from '../jobs/redis.ts';
import { startJob } from './child.ts';

export interface RedisServer {
  readonly url: string;
  /** Stops it; resolves to its version. */
  stop(): Promise<string>;
}

/** Undefined when there is no redis-server on the PATH. */
export async function startRedis(): Promise<RedisServer | undefined> {
  const input: RedisInput = { port: await freePort() };
  const child = startJob<string | undefined>('redis', input);
  // A job that finds no server ends without having been ready.
  const ready = await Promise.race([child.ready.then(() => true), child.finished.then(() => false)]);
  if (!ready) return undefined;
  return {
    url: `redis://127.0.0.1:${input.port}`,
    stop: async () => (await child.stop()).output ?? 'unknown',
  };
}

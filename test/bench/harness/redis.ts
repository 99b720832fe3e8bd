// A redis-server for BullMQ where one is installed. It keeps nothing on disk: the fastest it can be.

import { spawn } from 'node:child_process';
import { freePort } from '@pulsebox/test-support';

export interface RedisServer {
  readonly url: string;
  readonly version: string;
  stop(): Promise<void>;
}

/** Undefined when there is no redis-server on the PATH. */
export async function startRedis(): Promise<RedisServer | undefined> {
  const port = await freePort();
  const server = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const exited = new Promise<void>((resolve) => server.once('close', () => resolve()));
  let output = '';
  const ready = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.once('exit', () => resolve(false));
    server.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('Ready to accept connections')) resolve(true);
    });
  });
  if (!ready) return undefined;
  return {
    url: `redis://127.0.0.1:${port}`,
    version: /version=([\d.]+)/.exec(output)?.[1] ?? 'unknown',
    async stop(): Promise<void> {
      server.kill('SIGTERM');
      await exited;
    },
  };
}

// A redis-server that lives as long as this process: whatever ends the bench ends it, too.

import { spawn } from 'node:child_process';
import type { Channel } from '../harness/channel.ts';

export interface RedisInput {
  readonly port: number;
}

/** Resolves to its version; undefined where there is no redis-server on the PATH. Nothing is kept on disk. */
export default async function redis({ port }: RedisInput, channel: Channel): Promise<string | undefined> {
  const server = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  process.once('exit', () => server.kill('SIGKILL'));
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
  channel.ready();
  await channel.stopped;
  return /version=([\d.]+)/.exec(output)?.[1] ?? 'unknown';
}

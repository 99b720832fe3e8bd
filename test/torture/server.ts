// A PostgreSQL of the run's own, with its data on disk, which can be killed and comes back with what was committed.

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startEmbeddedServer } from '@pulsebox/postgres';
import type { EmbeddedServer } from '@pulsebox/postgres';
import { freePort } from '@pulsebox/test-support';

export interface TortureServer {
  /** Superuser on the database `postgres`. The same after every crash. */
  readonly url: string;
  readonly dataDirectory: string;
  /**
   * Ends it without a checkpoint and starts it again after `downMs`. `crash` is an immediate shutdown, which tells the
   * clients; a `power cut` is SIGKILL for the postmaster, which tells nobody.
   */
  crash(kind: 'crash' | 'power cut', downMs: number): Promise<void>;
  stop(): Promise<void>;
  /** Stops it and removes its data. */
  remove(): Promise<void>;
}

/** Backends that outlive their postmaster for a moment keep the next one from starting. */
const LONGEST_START_MS = 20_000;

export async function startTortureServer(folder: string): Promise<TortureServer> {
  const options = {
    dataDirectory: join(folder, 'data'),
    port: await freePort(),
    password: 'torture',
    settings: {
      // As in production, writes reach the disk: commits take their time, overtake one another, and survive.
      fsync: 'on',
      max_connections: '200',
      max_prepared_transactions: '100',
    },
  };
  let server: EmbeddedServer = await startEmbeddedServer(options);
  let stopped = false;
  const kill = (): void => {
    void server.kill();
  };
  process.once('exit', kill);

  async function startAgain(): Promise<EmbeddedServer> {
    const deadlineMs = performance.now() + LONGEST_START_MS;
    for (;;) {
      try {
        return await startEmbeddedServer(options);
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
      await rest(100);
    }
  }

  async function stop(): Promise<void> {
    stopped = true;
    process.off('exit', kill);
    await server.stop();
  }

  return {
    url: server.url,
    dataDirectory: server.dataDirectory,
    async crash(kind, downMs): Promise<void> {
      if (kind === 'crash') {
        await server.kill();
      } else {
        process.kill(server.pid, 'SIGKILL');
        await server.exited;
      }
      await rest(downMs);
      if (!stopped) server = await startAgain();
    },
    stop,
    async remove(): Promise<void> {
      await stop();
      await rm(server.dataDirectory, { recursive: true, force: true });
    },
  };
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

// A pool that survives its server: a connection that dies is dropped and replaced, and never ends the process.

import pg from 'pg';
import type { ClientConfig, Pool } from 'pg';

export interface PoolOptions {
  readonly connection: ClientConfig;
  /** The most connections this process opens. Default 5: a relay uses two, its lease one now and then. */
  readonly max?: number;
  /** Told of connections that broke while idle. The pool replaces them by itself. */
  readonly onIdleError: (error: Error) => void;
}

export function createPool(options: PoolOptions): Pool {
  const pool = new pg.Pool({
    ...options.connection,
    max: options.max ?? 5,
    idleTimeoutMillis: 30_000,
  });
  // Without a listener an idle connection's error would be an uncaught exception and end the process.
  // Nobody waits for those of a pool that ends: a server that is stopped right after it may still have its last word.
  pool.on('error', (error) => {
    if (!pool.ending) options.onIdleError(error);
  });
  // Nor has one that is in use a listener of the pool's: between `connect` and the first query, or behind an answer in
  // the same packet, a server's last words would end the process too. What breaks then, the next query reports.
  pool.on('connect', (client) => client.on('error', ignore));
  return pool;
}

function ignore(): void {
  // See above.
}

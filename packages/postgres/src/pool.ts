// A pool that survives its server: a connection that dies while idle is dropped and reported, not thrown.

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
  pool.on('error', options.onIdleError);
  return pool;
}

// Kept connections to push services, over HTTP/2 where they speak it. A bounded number of services at a time.

import { Pool } from 'undici';
import { guardedLookup } from './guarded-lookup.ts';
import type { ResolveAll } from './guarded-lookup.ts';

export interface ConnectionOptions {
  /** Origins that may have private addresses. */
  readonly privateOrigins: readonly string[];
  /** The most connections to one origin. With HTTP/2 one is enough for a hundred requests at a time. Default 8. */
  readonly connectionsPerOrigin?: number | undefined;
  readonly connectTimeoutMs: number;
  /** A certificate authority besides those that Node trusts, as PEM. */
  readonly ca?: string | undefined;
  /** How names become addresses. Default: the system's resolver. */
  readonly resolve?: ResolveAll | undefined;
}

export interface Connections {
  to(origin: string): Pool;
  close(): Promise<void>;
}

/** Four services carry the world's browsers. A stranger's origin costs one place, and pushes the idlest one out. */
const MOST_ORIGINS = 64;

/** As long as services let idle connections stand. */
const KEEP_ALIVE_MS = 60_000;

export function openConnections(options: ConnectionOptions): Connections {
  const pools = new Map<string, Pool>();
  const closing = new Set<Promise<void>>();
  const lookup = guardedLookup(options.resolve);

  function open(origin: string): Pool {
    const own = options.privateOrigins.includes(origin);
    return new Pool(origin, {
      connections: options.connectionsPerOrigin ?? 8,
      allowH2: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Requests have one deadline for all their parts; these would only cut slices out of it.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        preferH2: true,
        timeout: options.connectTimeoutMs,
        ...(own ? {} : { lookup }),
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      },
    });
  }

  function letGo(pool: Pool): void {
    const closed = pool.close().finally(() => closing.delete(closed));
    closing.add(closed);
  }

  return {
    to(origin): Pool {
      const known = pools.get(origin);
      const pool = known ?? open(origin);
      // The most recently used stands last.
      pools.delete(origin);
      pools.set(origin, pool);
      const [idlest] = pools;
      if (pools.size > MOST_ORIGINS && idlest !== undefined) {
        pools.delete(idlest[0]);
        letGo(idlest[1]);
      }
      return pool;
    },
    async close(): Promise<void> {
      const all = [...pools.values()];
      pools.clear();
      await Promise.all([...all.map((pool) => pool.destroy()), ...closing]);
    },
  };
}

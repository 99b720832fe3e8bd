// Kept connections to push services, over HTTP/2 where they speak it. A bounded number of services at a time.

import { Pool } from 'undici';
import { boundedSockets } from './bounded-sockets.ts';
import type { BoundedSockets } from './bounded-sockets.ts';
import { guardedLookup } from './guarded-lookup.ts';
import type { ResolveAll } from './lookup-queue.ts';

export interface ConnectionOptions {
  /** Origins that may have private addresses. */
  readonly privateOrigins: readonly string[];
  /** The most connections to one origin. With HTTP/2 one is enough for a hundred requests at a time. Default 8. */
  readonly connectionsPerOrigin?: number | undefined;
  /** The longest a request takes, its connection included, in milliseconds. */
  readonly timeoutMs: number;
  /** A certificate authority besides those that Node trusts, as PEM. */
  readonly ca?: string | undefined;
  /** How names become addresses. Default: the system's resolver. */
  readonly resolve?: ResolveAll | undefined;
}

export interface Connections {
  to(origin: string): Pool;
  /** The next request to the origin gets another connection than these; what they still carry may end. */
  replace(origin: string, pool: Pool): void;
  close(): Promise<void>;
}

/** Four services carry the world's browsers. A stranger's origin costs one place, and pushes the idlest one out. */
const MOST_ORIGINS = 64;

/** As long as services let idle connections stand. */
const KEEP_ALIVE_MS = 60_000;

/** For the moment in which one that is let go by a service stands beside the one that takes its place. */
const SOCKETS_PER_CONNECTION = 2;

interface Connected {
  readonly pool: Pool;
  readonly sockets: BoundedSockets;
}

export function openConnections(options: ConnectionOptions): Connections {
  const { timeoutMs, connectionsPerOrigin = 8 } = options;
  const all = new Map<string, Connected>();
  /** Let go, with the timers of their ends. */
  const leaving = new Map<Connected, NodeJS.Timeout>();
  const lookup = guardedLookup(options.resolve);

  function open(origin: string): Connected {
    const own = options.privateOrigins.includes(origin);
    const sockets = boundedSockets(
      {
        allowH2: true,
        preferH2: true,
        timeout: timeoutMs,
        ...(own ? {} : { lookup }),
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      },
      connectionsPerOrigin * SOCKETS_PER_CONNECTION,
    );
    const pool = new Pool(origin, {
      connections: connectionsPerOrigin,
      allowH2: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Requests have one deadline for all their parts; these would only cut slices out of it.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: sockets.connect,
    });
    return { pool, sockets };
  }

  function letGo(connected: Connected): void {
    // When the last request has had its time: a service that allows no stream would have us wait for ever.
    const timer = setTimeout(() => void end(connected), timeoutMs);
    timer.unref();
    leaving.set(connected, timer);
  }

  async function end(connected: Connected): Promise<void> {
    clearTimeout(leaving.get(connected));
    leaving.delete(connected);
    await connected.pool.destroy();
    connected.sockets.destroy();
  }

  return {
    to(origin): Pool {
      const connected = all.get(origin) ?? open(origin);
      // The most recently used stands last.
      all.delete(origin);
      all.set(origin, connected);
      const [idlest] = all;
      if (all.size > MOST_ORIGINS && idlest !== undefined) {
        all.delete(idlest[0]);
        letGo(idlest[1]);
      }
      return connected.pool;
    },
    replace(origin, pool): void {
      const connected = all.get(origin);
      // Of many that time out at once, the first has done it.
      if (connected?.pool !== pool) return;
      all.delete(origin);
      letGo(connected);
    },
    async close(): Promise<void> {
      const open = [...all.values(), ...leaving.keys()];
      all.clear();
      await Promise.all(open.map(end));
    },
  };
}

// The way to the database: one for workers and one for writers, each of which can fail by itself.

import { tcpProxy } from '@pulsebox/test-support';
import type { BreakingMoment } from '@pulsebox/test-support';
import type { Pause } from './pause.ts';
import type { RequestMishapKind } from './mishaps.ts';

export interface Network {
  readonly workersUrl: string;
  readonly writersUrl: string;
  /** Breaks every connection, or lets nothing through, for so long. */
  fail(kind: 'network away' | 'network hung', ms: number, pause: Pause): Promise<void>;
  /** Breaks the connection of the next request of that kind. False: none came before the signal. */
  breakRequest(kind: RequestMishapKind, signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}

/** What a request is known by: node-postgres sends a statement's text whenever it sends the statement. */
const STORE = '\n  insert into outbox.cursor';
const PARK = 'insert into outbox.parked';
const SETTLE = 'delete from outbox.parked';
/** A message of its own, and its end. */
const COMMIT = 'commit\0';

type Way = 'workers' | 'writers';

const moments: Readonly<
  Record<RequestMishapKind, readonly [way: Way, text: string, moment: BreakingMoment]>
> = {
  'store request lost': ['workers', STORE, 'request'],
  'store cut off': ['workers', STORE, 'execution'],
  'store answer lost': ['workers', STORE, 'answer'],
  'park request lost': ['workers', PARK, 'request'],
  'park cut off': ['workers', PARK, 'execution'],
  'park answer lost': ['workers', PARK, 'answer'],
  'settle request lost': ['workers', SETTLE, 'request'],
  'settle cut off': ['workers', SETTLE, 'execution'],
  'settle answer lost': ['workers', SETTLE, 'answer'],
  'outcome request lost': ['workers', COMMIT, 'request'],
  'outcome cut off': ['workers', COMMIT, 'execution'],
  'outcome answer lost': ['workers', COMMIT, 'answer'],
  'commit request lost': ['writers', COMMIT, 'request'],
  'commit cut off': ['writers', COMMIT, 'execution'],
  'commit answer lost': ['writers', COMMIT, 'answer'],
};

export async function createNetwork(databaseUrl: string): Promise<Network> {
  const ways = { workers: await tcpProxy(databaseUrl), writers: await tcpProxy(databaseUrl) };
  const proxies = Object.values(ways);
  return {
    workersUrl: ways.workers.url,
    writersUrl: ways.writers.url,
    async fail(kind, ms, pause): Promise<void> {
      for (const proxy of proxies) {
        if (kind === 'network away') proxy.cut();
        else proxy.stall();
      }
      await pause(ms);
      for (const proxy of proxies) proxy.restore();
    },
    async breakRequest(kind, signal): Promise<boolean> {
      const [way, text, moment] = moments[kind];
      return await ways[way].breakAt(moment, text, signal);
    },
    async close(): Promise<void> {
      await Promise.all(proxies.map((proxy) => proxy.close()));
    },
  };
}

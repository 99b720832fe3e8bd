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
const STORE = 'insert into outbox.cursor';
const COMMIT = 'commit';

const moments: Readonly<Record<RequestMishapKind, readonly [text: string, moment: BreakingMoment]>> = {
  'store request lost': [STORE, 'request'],
  'store cut off': [STORE, 'execution'],
  'store answer lost': [STORE, 'answer'],
  'commit request lost': [COMMIT, 'request'],
  'commit cut off': [COMMIT, 'execution'],
  'commit answer lost': [COMMIT, 'answer'],
};

export async function createNetwork(databaseUrl: string): Promise<Network> {
  const workers = await tcpProxy(databaseUrl);
  const writers = await tcpProxy(databaseUrl);
  return {
    workersUrl: workers.url,
    writersUrl: writers.url,
    async fail(kind, ms, pause): Promise<void> {
      for (const proxy of [workers, writers]) {
        if (kind === 'network away') proxy.cut();
        else proxy.stall();
      }
      await pause(ms);
      for (const proxy of [workers, writers]) proxy.restore();
    },
    async breakRequest(kind, signal): Promise<boolean> {
      const [text, moment] = moments[kind];
      return await (text === STORE ? workers : writers).breakAt(moment, text, signal);
    },
    async close(): Promise<void> {
      await Promise.all([workers.close(), writers.close()]);
    },
  };
}

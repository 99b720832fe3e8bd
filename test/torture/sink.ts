// What the workers' handlers ask before they write: a server of the run's own, which can be away in three ways.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Pause } from './pause.ts';

/** `sink gone`: connections are refused. `sink busy`: 429, with a wait. `sink silent`: no answer. */
export const sinkMishapKinds = ['sink gone', 'sink busy', 'sink silent'] as const;

export type SinkMishapKind = (typeof sinkMishapKinds)[number];

export interface Sink {
  readonly url: string;
  /** One at a time. */
  fail(kind: SinkMishapKind, ms: number, pause: Pause): Promise<void>;
  close(): Promise<void>;
}

export async function startSink(): Promise<Sink> {
  let state: SinkMishapKind | 'well' = 'well';
  const server = createServer((_, response) => {
    if (state === 'sink silent') return;
    response.writeHead(
      state === 'sink busy' ? 429 : 204,
      state === 'sink busy' ? { 'retry-after': '1' } : {},
    );
    response.end();
  });
  const listen = async (port: number): Promise<void> =>
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/`,
    async fail(kind, ms, pause): Promise<void> {
      state = kind;
      if (kind === 'sink gone') await close();
      await pause(ms);
      if (kind === 'sink gone') await listen(port);
      state = 'well';
      // Those that wait for an answer which never comes.
      if (kind === 'sink silent') server.closeAllConnections();
    },
    close,
  };
}

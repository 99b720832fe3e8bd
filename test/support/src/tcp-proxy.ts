// A network that can fail: between a client and its database, on this machine.

import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

export interface TcpProxy {
  /** The given URL with the proxy's host and port in it. */
  readonly url: string;
  /** Breaks every connection and refuses new ones, as a database does that is away. */
  cut(): void;
  /** Lets nothing through in either direction and closes nothing, as a lost route does. New connections hang too. */
  stall(): void;
  /** Ends a cut or a stall. What a stall held back is passed on. */
  restore(): void;
  /**
   * Passes on the next request that has `text` in it, then breaks its connection when the answer comes: the server
   * has done it, and the client cannot know. Resolves when that has happened.
   */
  loseAnswerTo(text: string): Promise<void>;
  close(): Promise<void>;
}

/** @param targetUrl for instance `postgres://user:password@127.0.0.1:5432/database` */
export async function tcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'stalled' = 'open';
  let doomed: { readonly text: string; readonly done: () => void } | undefined;

  const join = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on('error', () => undefined);
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  };

  const server = createServer((client) => {
    if (state === 'cut') {
      client.destroy();
      return;
    }
    const upstream = connect(Number(target.port), target.hostname);
    let loseNext: (() => void) | undefined;
    join(client, upstream);
    join(upstream, client);
    client.on('data', (chunk) => {
      if (doomed !== undefined && chunk.includes(doomed.text)) {
        loseNext = doomed.done;
        doomed = undefined;
      }
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (loseNext === undefined) {
        client.write(chunk);
        return;
      }
      client.destroy();
      loseNext();
    });
    if (state === 'stalled') {
      client.pause();
      upstream.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(address.port);

  return {
    url: url.href,
    cut(): void {
      state = 'cut';
      for (const socket of sockets) socket.destroy();
    },
    stall(): void {
      state = 'stalled';
      for (const socket of sockets) socket.pause();
    },
    restore(): void {
      state = 'open';
      for (const socket of sockets) socket.resume();
    },
    async loseAnswerTo(text): Promise<void> {
      await new Promise<void>((done) => {
        doomed = { text, done };
      });
    },
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

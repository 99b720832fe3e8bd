// A network that can fail: between a client and its database, on this machine.

import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

/**
 * When a connection breaks over a request: `request`, instead of passing it on; `execution`, as soon as it is passed
 * on; `answer`, when the answer comes. The client cannot tell which. The server has not heard of the first, and has
 * carried out the last.
 */
export type BreakingMoment = 'request' | 'execution' | 'answer';

export interface TcpProxy {
  /** The given URL with the proxy's host and port in it. */
  readonly url: string;
  /** Breaks every connection and refuses new ones, as a database does that is away. */
  cut(): void;
  /** Lets nothing through in either direction and closes nothing, as a lost route does. New connections hang too. */
  stall(): void;
  /** Stalls as soon as a request comes that has `text` in it, before it is passed on. Resolves when that has happened. */
  stallAt(text: string): Promise<void>;
  /** Ends a cut or a stall. What a stall held back is passed on. */
  restore(): void;
  /**
   * Passes on the next request that has `text` in it, then breaks its connection when the answer comes: the server
   * has done it, and the client cannot know. Resolves when that has happened.
   */
  loseAnswerTo(text: string): Promise<void>;
  /**
   * Breaks the connection of the next request that has `text` in it. Resolves with true when that has happened, and
   * with false when the signal was aborted before: then nothing will. One at a time.
   */
  breakAt(moment: BreakingMoment, text: string, signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}

/** @param targetUrl for instance `postgres://user:password@127.0.0.1:5432/database` */
export async function tcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'stalled' = 'open';
  let held: { readonly text: string; readonly done: () => void } | undefined;
  let doomed:
    | { readonly moment: BreakingMoment; readonly text: string; readonly done: () => void }
    | undefined;

  const join = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on('error', () => undefined);
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  };

  function stall(): void {
    state = 'stalled';
    for (const socket of sockets) socket.pause();
  }

  async function breakAt(moment: BreakingMoment, text: string, signal: AbortSignal): Promise<boolean> {
    return await new Promise<boolean>((resolve) => {
      const mine = { moment, text, done: () => resolve(true) };
      doomed = mine;
      const forget = (): void => {
        if (doomed !== mine) return;
        doomed = undefined;
        resolve(false);
      };
      signal.addEventListener('abort', forget, { once: true });
      if (signal.aborted) forget();
    });
  }

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
      if (held !== undefined && chunk.includes(held.text)) {
        const { done } = held;
        held = undefined;
        stall();
        client.unshift(chunk);
        done();
        return;
      }
      if (doomed !== undefined && chunk.includes(doomed.text)) {
        const { moment, done } = doomed;
        doomed = undefined;
        if (moment === 'answer') {
          loseNext = done;
        } else {
          if (moment === 'execution') upstream.end(chunk);
          else upstream.destroy();
          client.destroy();
          done();
          return;
        }
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
    stall,
    async stallAt(text): Promise<void> {
      await new Promise<void>((resolve) => {
        held = { text, done: resolve };
      });
    },
    restore(): void {
      state = 'open';
      for (const socket of sockets) socket.resume();
    },
    async loseAnswerTo(text): Promise<void> {
      await breakAt('answer', text, new AbortController().signal);
    },
    breakAt,
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

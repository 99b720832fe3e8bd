// LISTEN on a connection of its own: a hint that something happened, never the proof. Reconnects by itself.

import pg from 'pg';
import type { Client, ClientConfig } from 'pg';
import type { Queryable } from './queryable.ts';

export interface ListenOptions {
  /** A direct connection: LISTEN does not work through a pooler in transaction mode. */
  readonly connection: ClientConfig;
  /** Asked for on the connection itself each time it is made. */
  readonly channel: (db: Queryable) => Promise<string>;
  /** With the payload of the notification; undefined: what was notified while nobody listened is gone, look once. */
  readonly onNotification: (payload: string | undefined) => void;
  /** Called on every change, with the error when the connection was lost or could not be made. */
  readonly onState: (state: ListenState, error?: Error) => void;
}

export type ListenState = 'listening' | 'lost';

export interface Listener {
  readonly state: ListenState;
  close(): Promise<void>;
}

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 30_000;

/** Starts listening in the background and keeps at it until closed. Never throws: a lost connection is a state. */
export function listen(options: ListenOptions): Listener {
  let state: ListenState = 'lost';
  let client: Client | undefined;
  let retryTimer: NodeJS.Timeout | undefined;
  let retryMs = FIRST_RETRY_MS;
  let closed = false;
  let connecting: Promise<void> = connect();

  async function connect(): Promise<void> {
    const candidate = new pg.Client(options.connection);
    candidate.on('error', (error) => lost(candidate, error));
    candidate.on('end', () => lost(candidate, new Error('the server closed the connection')));
    candidate.on('notification', ({ payload }) => options.onNotification(payload ?? ''));
    client = candidate;
    try {
      await candidate.connect();
      await candidate.query(`listen ${candidate.escapeIdentifier(await options.channel(candidate))}`);
      if (closed || client !== candidate) return;
      retryMs = FIRST_RETRY_MS;
      state = 'listening';
      options.onState(state);
      // What was notified while nobody listened is gone: have the reader look once.
      options.onNotification(undefined);
    } catch (error) {
      lost(candidate, error instanceof Error ? error : new Error(String(error)));
    }
  }

  function lost(candidate: Client, error: Error): void {
    if (closed || client !== candidate) return;
    client = undefined;
    candidate.end().catch(() => undefined);
    state = 'lost';
    options.onState(state, error);
    retryTimer = setTimeout(() => {
      connecting = connect();
    }, retryMs);
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }

  return {
    get state(): ListenState {
      return state;
    },
    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      clearTimeout(retryTimer);
      await connecting;
      await client?.end().catch(() => undefined);
    },
  };
}

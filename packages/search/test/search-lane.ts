// The lane of the group `search`, as the relay would hold it: batches go through the handler under a real lease.

import type { JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { acquireLease, releaseLease } from '@pulsebox/postgres';
import type { Handler, HandlerContext } from '@pulsebox/outbox';
import { createLogger } from '@pulsebox/loop';
import type { Pool } from 'pg';

export interface SearchLane {
  readonly token: number;
  /** Lines that the handler logged. */
  readonly logged: Record<string, unknown>[];
  /** How often the handler said that it makes progress. */
  progressed(): number;
  /** Hands events to the handler as a batch. */
  deliver(handler: Handler, events: readonly GivenEvent[], options?: DeliverOptions): Promise<void>;
  /** What the relay hands a handler with each batch. */
  context(options?: DeliverOptions): HandlerContext;
  release(): Promise<void>;
}

export interface GivenEvent {
  readonly topic: string;
  readonly payload: JsonValue;
}

export interface DeliverOptions {
  readonly signal?: AbortSignal;
  /** Another than that of the lane. */
  readonly token?: number;
}

export async function holdSearchLane(pool: Pool): Promise<SearchLane> {
  const name = 'outbox/search/0';
  const attempt = await acquireLease(pool, { name, holder: 'test', ttlMs: 600_000 });
  if (!attempt.acquired) throw new Error(`held by ${attempt.heldBy}`);
  const { token } = attempt;
  const logged: Record<string, unknown>[] = [];
  const log = createLogger({
    worker: 'test',
    destination: { write: (line: string) => void logged.push(JSON.parse(line) as Record<string, unknown>) },
  });
  let progress = 0;
  let position = 0;
  const context = (options: DeliverOptions = {}): HandlerContext => ({
    signal: options.signal ?? new AbortController().signal,
    fencingToken: options.token ?? token,
    progress: () => {
      progress += 1;
    },
    log,
  });
  return {
    token,
    context,
    logged,
    progressed: () => progress,
    async deliver(handler, given, options = {}): Promise<void> {
      const events = given.map(({ topic, payload }): OutboxEvent => {
        position += 1;
        return { position, topic, payload, key: null, headers: {}, createdAt: new Date() };
      });
      await handler({ group: 'search', lane: 0, events }, context(options));
    },
    release: async () => void (await releaseLease(pool, { name, token })),
  };
}

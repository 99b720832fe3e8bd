// A Meilisearch server over its own client: every request with a deadline, every task awaited and its status checked.

import { setTimeout as delay } from 'node:timers/promises';
import type { SinkError } from '@pulsebox/outbox';
import { Meilisearch } from 'meilisearch';
import type { EnqueuedTask } from 'meilisearch';
import { notMeilisearchs, requestFault, taskFault } from './meilisearch-fault.ts';

export interface MeilisearchServerOptions {
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** The longest one request may take, in milliseconds. */
  readonly timeoutMs: number;
}

export interface Waiting {
  readonly signal: AbortSignal;
  /** Called at each look at the task: the sink answers, so this is no stall. */
  readonly progress: () => void;
}

export interface MeilisearchServer {
  /** Sends one request and returns its answer. @throws SinkError, or the signal's reason */
  request<T>(
    doing: string,
    signal: AbortSignal | undefined,
    send: (client: Meilisearch) => Promise<T>,
  ): Promise<T>;
  /** Waits until the task has succeeded. Nothing but the signal ends the wait while Meilisearch answers. */
  settled(doing: string, task: EnqueuedTask, waiting: Waiting): Promise<void>;
}

const WAITING: ReadonlySet<unknown> = new Set(['enqueued', 'processing']);
const FIRST_LOOK_MS = 5;
const LONGEST_REST_MS = 250;

export function meilisearchServer({ url, apiKey, timeoutMs }: MeilisearchServerOptions): MeilisearchServer {
  async function request<T>(
    doing: string,
    signal: AbortSignal | undefined,
    send: (client: Meilisearch) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    const deadline = AbortSignal.timeout(timeoutMs);
    // The client's write methods take no signal, and its own timeout is void beside a signal. So each request has a
    // client of its own, which is but a URL and headers; connections belong to the process.
    const requestInit: RequestInit = {
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    };
    const client = new Meilisearch({ host: url, ...(apiKey === undefined ? {} : { apiKey }), requestInit });
    let answer: T;
    try {
      answer = await send(client);
    } catch (error) {
      signal?.throwIfAborted();
      throw requestFault(error, doing);
    }
    // A proxy's idea of an answer must not become an error of our own, for which events would be blamed.
    if (typeof answer !== 'object' || answer === null) throw notMeilisearchs(doing, answer);
    return answer;
  }

  return {
    request,
    async settled(doing, task, { signal, progress }): Promise<void> {
      for (let restMs = FIRST_LOOK_MS; ; restMs = Math.min(restMs * 2, LONGEST_REST_MS)) {
        const { status, error } = await request(doing, signal, (client) =>
          client.tasks.getTask(task.taskUid),
        );
        if (status === 'succeeded') return;
        // The client resolves a failed task like any other; only its status tells.
        if (status === 'failed' || status === 'canceled') throw taskFault(error, doing);
        if (!WAITING.has(status)) throw notMeilisearchs(doing, status);
        progress();
        await delay(restMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    },
  };
}

/** Whether it is this fault, by Meilisearch's own name. */
export function hasSinkCode(error: unknown, sinkCode: string): error is SinkError {
  return error instanceof Error && 'sinkCode' in error && error.sinkCode === sinkCode;
}

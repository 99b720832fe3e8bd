// One request and as much of its answer as is wanted, under one deadline. Written on undici's `dispatch`: the streams
// and signals of its `request` cost as much as the request itself.

import type { Dispatcher } from 'undici';

export interface ExchangeOptions {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** From now to the end of the answer, in milliseconds. */
  readonly timeoutMs: number;
  /** So much of the answer's body is read, in bytes; then the stream is closed. */
  readonly longestAnswer: number;
  readonly signal: AbortSignal;
}

export interface Exchanged {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** As much of the body as was read. */
  readonly text: string;
}

export const TIMED_OUT: Error = new Error('timed out');
export const GIVEN_UP: Error = new Error('given up');

/** For the HTTP client, which wants a reason to stop reading. */
const ENOUGH = new Error('read enough');

/**
 * Posts to the dispatcher's origin. Once the status has been said, a body that breaks off, or takes too long, takes
 * nothing of it back.
 *
 * @throws TIMED_OUT; GIVEN_UP when the signal was aborted; or what the connection failed with
 */
export function exchange(dispatcher: Dispatcher, options: ExchangeOptions): Promise<Exchanged> {
  const { path, headers, body, timeoutMs, longestAnswer, signal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
  let controller: Dispatcher.DispatchController | undefined;
  let stopped: Error | undefined;
  let status: number | undefined;
  let retryAfter: string | undefined;
  let text = '';

  const timer = setTimeout(() => stop(TIMED_OUT), timeoutMs);
  const giveUp = (): void => stop(GIVEN_UP);
  signal.addEventListener('abort', giveUp, { once: true });

  /** Also while it waits for a connection: it is not sent any more when it gets one. */
  function stop(reason: Error): void {
    if (stopped !== undefined) return;
    stopped = reason;
    settle(reason);
    controller?.abort(reason);
  }

  function settle(error: Error): void {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
    if (status === undefined) reject(error);
    else resolve({ status, retryAfter, text: text.slice(0, longestAnswer) });
  }

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started): void {
      controller = started;
      if (stopped !== undefined) started.abort(stopped);
    },
    onResponseStart(_controller, statusCode, answered): void {
      // 1xx: the answer is still to come.
      if (statusCode < 200) return;
      status = statusCode;
      const value = answered['retry-after'];
      if (typeof value === 'string') retryAfter = value;
    },
    onResponseData(_controller, chunk): void {
      if (text.length < longestAnswer) text += chunk.toString();
      if (text.length >= longestAnswer) stop(ENOUGH);
    },
    onResponseEnd: () => settle(new Error('no status')),
    onResponseError: (_controller, error) => settle(error),
  };
  if (signal.aborted) giveUp();
  else dispatcher.dispatch({ method: 'POST', path, headers, body }, handler);
  return promise;
}

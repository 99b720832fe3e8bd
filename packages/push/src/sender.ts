// Sends one message to one subscription: checked, encrypted, under one deadline, and always with an outcome.

import { readAnswer } from './answer.ts';
import type { Answer } from './answer.ts';
import { createBreaker } from './breaker.ts';
import type { BreakerOptions } from './breaker.ts';
import { openConnections } from './connections.ts';
import type { ConnectionOptions } from './connections.ts';
import type { EncryptionKeys } from './encryption.ts';
import { createEncryptor } from './encryptor.ts';
import { parseEndpoint, parseOrigin } from './endpoint.ts';
import type { Endpoint, EndpointPolicy } from './endpoint.ts';
import { exchange, GIVEN_UP, TIMED_OUT } from './exchange.ts';
import type { PushMessage } from './message.ts';
import { PushError } from './push-error.ts';
import { parseVapid } from './vapid-keys.ts';
import type { Vapid } from './vapid-keys.ts';
import { vapidHeaders } from './vapid-headers.ts';

/** What a browser hands to the page that subscribes. */
export interface SubscriptionKeys extends EncryptionKeys {
  readonly endpoint: string;
}

/**
 * Besides the kinds of answers: `held`: the breaker of the service is open, nothing was sent; `forbidden`: the endpoint
 * leads where nothing may be sent; `invalid`: its keys are none; `aborted`: we gave up, and nobody knows whether it
 * arrived.
 */
export type OutcomeKind = Answer['kind'] | 'held' | 'forbidden' | 'invalid' | 'aborted';

export interface Outcome {
  readonly kind: OutcomeKind;
  /** The origin of the endpoint; undefined when it has none that may be used. */
  readonly origin: string | undefined;
  /** For people and logs: no endpoint, no key, no token. */
  readonly detail: string;
  readonly status?: number;
  /** The least time until the next attempt, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** How long the push service took, in milliseconds. Undefined when it was not asked. */
  readonly tookMs?: number;
}

export interface SendOptions {
  /** What is left of the message's time to live, in seconds. Default: all of it. */
  readonly ttlSeconds?: number;
  /** Whose subscription it is, in any form, for the breaker. Default: the endpoint's. */
  readonly owner?: string;
  readonly signal: AbortSignal;
}

export interface PushSender {
  readonly publicKey: string;
  /** Never rejects. */
  send(subscription: SubscriptionKeys, message: PushMessage, options: SendOptions): Promise<Outcome>;
  close(): Promise<void>;
}

export interface PushSenderOptions
  extends EndpointPolicy,
    Pick<ConnectionOptions, 'ca' | 'resolve' | 'connectionsPerOrigin'> {
  readonly vapid: Vapid;
  /** The longest one delivery may take, from the look at DNS to the end of the answer, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  readonly breaker?: BreakerOptions | undefined;
}

/** Of an answer this much is read, in bytes; then the stream is closed. */
const LONGEST_ANSWER = 4_096;

/** @throws PUSH_VAPID_INVALID, PUSH_OPTIONS_INVALID */
export function createPushSender(options: PushSenderOptions): PushSender {
  const vapid = parseVapid(options.vapid);
  const policy = {
    allowedOrigins: options.allowedOrigins?.map(parseOrigin),
    privateOrigins: options.privateOrigins?.map(parseOrigin) ?? [],
  };
  const timeoutMs = options.timeoutMs ?? 10_000;
  const headers = vapidHeaders(vapid);
  const breaker = createBreaker(options.breaker);
  const encryptor = createEncryptor();
  const connections = openConnections({ ...options, ...policy, timeoutMs });

  async function attempt(
    { origin, path }: Endpoint,
    body: Buffer,
    message: PushMessage,
    { ttlSeconds = message.ttlSeconds, signal }: SendOptions,
  ): Promise<Outcome> {
    const startedAtMs = performance.now();
    const connection = connections.to(origin);
    try {
      const { status, retryAfter, text } = await exchange(connection, {
        path,
        headers: {
          authorization: headers.authorization(origin),
          'content-encoding': 'aes128gcm',
          'content-type': 'application/octet-stream',
          ttl: String(ttlSeconds),
          urgency: message.urgency,
          ...(message.topic === undefined ? {} : { topic: message.topic }),
        },
        body,
        timeoutMs,
        longestAnswer: LONGEST_ANSWER,
        signal,
      });
      const answer = readAnswer(status, { retryAfter }, text);
      return { ...outcomeOf(answer, origin), tookMs: performance.now() - startedAtMs };
    } catch (error) {
      // It may be dead without a word, and would swallow whatever is sent next.
      if (error === TIMED_OUT) connections.replace(origin, connection);
      return faultOutcome(error, origin, performance.now() - startedAtMs);
    }
  }

  function report({ kind, retryAfterMs, tookMs = 0 }: Outcome, origin: string, owner: string): void {
    if (kind === 'aborted' || kind === 'forbidden') breaker.abandoned(origin);
    else if (kind === 'denied' || kind === 'throttled')
      breaker.failed(origin, { retryAfterMs, refused: owner });
    // One that always answers a moment before the deadline would hold up everybody else.
    else if (kind === 'unavailable' || tookMs > timeoutMs / 2) breaker.failed(origin, { retryAfterMs });
    else breaker.succeeded(origin);
  }

  return {
    publicKey: vapid.publicKey,
    async send(subscription, message, sendOptions): Promise<Outcome> {
      let endpoint: Endpoint;
      try {
        endpoint = parseEndpoint(subscription.endpoint, policy);
      } catch (error) {
        if (!(error instanceof PushError)) throw error;
        return { kind: 'forbidden', origin: undefined, detail: error.message };
      }
      const { origin } = endpoint;
      const admission = breaker.admit(origin);
      if (!admission.admitted) {
        const retryAfterMs = Math.ceil(admission.retryInMs);
        return { kind: 'held', origin, detail: `${origin} failed too often of late`, retryAfterMs };
      }
      const body = await encryptor.encrypt(subscription, message.plaintext);
      if (body === undefined) {
        breaker.abandoned(origin);
        return { kind: 'invalid', origin, detail: 'the keys of the subscription are not those of a browser' };
      }
      const outcome = await attempt(endpoint, body, message, sendOptions);
      report(outcome, origin, sendOptions.owner ?? subscription.endpoint);
      return outcome;
    },
    async close(): Promise<void> {
      await encryptor.close();
      await connections.close();
    },
  };
}

function outcomeOf({ kind, status, reason, retryAfterMs }: Answer, origin: string): Outcome {
  const detail = `${origin} answered ${status}${reason === undefined ? '' : ` (${reason})`}`;
  return { kind, origin, detail, status, retryAfterMs };
}

function faultOutcome(error: unknown, origin: string, tookMs: number): Outcome {
  if (error === GIVEN_UP)
    return { kind: 'aborted', origin, detail: `given up before ${origin} answered`, tookMs };
  if (error === TIMED_OUT)
    return { kind: 'unavailable', origin, detail: `${origin} did not answer in time`, tookMs };
  const reason = causes(error).find((cause) => 'code' in cause);
  const code = reason !== undefined && 'code' in reason ? String(reason.code) : 'unknown';
  if (reason instanceof PushError) return { kind: 'forbidden', origin, detail: reason.message };
  return { kind: 'unavailable', origin, detail: `no connection to ${origin} (${code})`, tookMs };
}

function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let cause = error; cause instanceof Error && found.length < 8; cause = cause.cause) found.push(cause);
  return found;
}

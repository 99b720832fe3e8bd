// A streaming pull as a loop: messages are gathered, handled as one, and acknowledged when that is done.

import { setTimeout as delay } from 'node:timers/promises';
import type { Loop, LoopCheck, TickContext, TickResult } from '@pulsebox/loop';
import type { PubSubConnection } from './credentials.ts';
import type { PullMetrics } from './pubsub-metrics.ts';
import type { LeasedMessage, PulledMessage, PullStream } from './pull-stream.ts';
import { closedFault, streamFault } from './stream-fault.ts';

/**
 * Returning says that the messages are dealt with, whatever happens to this process: what they brought is committed.
 * It gives up by itself when a database does not answer.
 */
export type PullHandler = (messages: readonly PulledMessage[], context: TickContext) => Promise<void>;

export interface PullLoopOptions {
  readonly connection: PubSubConnection;
  /** `mail-changes`, or `projects/p/subscriptions/mail-changes`. */
  readonly subscription: string;
  readonly handler: PullHandler;
  /** Default `pull`. */
  readonly name?: string;
  readonly metrics?: PullMetrics | undefined;
  /** How often an idle tick ends while the stream is alive, in milliseconds. Default 5,000. */
  readonly cadenceMs?: number;
  /** The most messages that the handler gets at once. Default 500. */
  readonly batchSize?: number;
  /** How long more messages are waited for when one has come, in milliseconds. Default 20. */
  readonly gatherMs?: number;
  /** The most messages that are held at once, being handled or waiting. Default 1,000. */
  readonly maxMessages?: number;
  /** The most bytes of them. Default 20 MiB. */
  readonly maxBytes?: number;
  /** How long the server may say nothing until the stream counts as dead, in milliseconds. Default 50,000. */
  readonly silenceMs?: number;
  /** How long no stream may stand until a tick fails over it, in milliseconds. Google ends streams as a routine. Default 5,000. */
  readonly lossMs?: number;
  /** How long a stop waits for messages in hand, in milliseconds. Default 10,000. */
  readonly closeMs?: number;
  /** Default: false with an emulator, which does not. See PullStreamOptions. */
  readonly keepAlivesAnswered?: boolean;
}

/** How often a tick that waits looks at how long the stream has been silent, or lost. */
const LOOK_EVERY_MS = 250;

const BEAT_EVERY_MS = 500;

/** A handler that has not returned by then is stuck: beats no longer help it. */
const DEADLINE_MS = 60_000;

/** What Google's client sends every 30 s must be answered within 15 s. The rest is for the way. */
const SILENCE_MS = 50_000;

/**
 * Pulls a subscription. Nothing is asked of the network before the first tick.
 *
 * A message is acknowledged after the handler has returned, never before: a worker that dies between the two gets it
 * again. A handler that throws fails the tick; the messages stay leased, and are handed over again in the next.
 *
 * Its liveness is that of the stream. While the server answers, an idle subscription ticks and is well. When the server
 * falls silent, ticks do not end, and the loop is stalled; the client replaces the stream meanwhile, and the first sign
 * of life ends the stall. When the server refuses or closes the stream, ticks fail and back off: the loop is alive, and
 * not ready.
 */
export function pullLoop(options: PullLoopOptions): Loop {
  const { subscription, handler, metrics, connection } = options;
  const cadenceMs = options.cadenceMs ?? 5_000;
  const batchSize = options.batchSize ?? 500;
  const gatherMs = options.gatherMs ?? 20;
  const silenceMs = options.silenceMs ?? SILENCE_MS;
  const lossMs = options.lossMs ?? 5_000;
  let stream: PullStream | undefined;
  let lossesCounted = 0;

  async function open(): Promise<PullStream> {
    if (stream !== undefined) return stream;
    // Google's client takes a quarter of a second to load: only who pulls pays for it.
    const { openStream } = await import('./pull-stream.ts');
    stream = openStream({
      connection,
      subscription,
      maxMessages: options.maxMessages ?? 1_000,
      maxBytes: options.maxBytes ?? 20 * 1024 * 1024,
      closeMs: options.closeMs ?? 10_000,
      keepAlivesAnswered: options.keepAlivesAnswered ?? connection.emulatorHost === undefined,
    });
    lossesCounted = 0;
    return stream;
  }

  /** Throws when no stream stands. One that the client has given up is closed, so that the next tick opens another. */
  async function assertStanding(of: PullStream): Promise<void> {
    metrics?.streamsLost.inc(of.health.ended - lossesCounted);
    lossesCounted = of.health.ended;
    if (of.failure !== undefined) {
      stream = undefined;
      metrics?.streamUp.set(0);
      await of.close();
      throw closedFault(subscription, of.failure);
    }
    const lost = of.health.lost();
    metrics?.streamUp.set(lost === undefined && of.health.silentMs() < silenceMs ? 1 : 0);
    if (lost !== undefined && lost.forMs >= lossMs) throw streamFault(subscription, lost.status);
  }

  async function handle(from: PullStream, context: TickContext): Promise<number> {
    const messages: readonly LeasedMessage[] = from.take(batchSize);
    // A database that is slow or away is no stall of the stream. It is the handler's to give up in the end.
    const beat = setInterval(() => context.progress(), BEAT_EVERY_MS);
    try {
      await handler(messages, context);
    } catch (error) {
      from.giveBack(messages);
      throw error;
    } finally {
      clearInterval(beat);
    }
    for (const message of messages) message.ack();
    metrics?.batchSize.observe(messages.length);
    return messages.length;
  }

  /** Finishes what has come, and nothing else. What cannot be handled goes back to Pub/Sub. */
  async function drain(from: PullStream, context: TickContext): Promise<TickResult> {
    stream = undefined;
    let events = 0;
    const over = new AbortController();
    const closing = from.close().then(() => over.abort());
    try {
      while (!over.signal.aborted && !context.signal.aborted) {
        if (from.waiting > 0) events += await handle(from, context);
        else await Promise.race([closing, from.changed(LOOK_EVERY_MS, context.signal)]);
      }
    } finally {
      if (!over.signal.aborted) await from.abandon();
      metrics?.streamUp.set(0);
    }
    return { events };
  }

  return {
    name: options.name ?? 'pull',
    cadenceMs,
    deadlineMs: DEADLINE_MS,
    async tick(context): Promise<TickResult> {
      const { signal, stopping } = context;
      const current = await open();
      const over = AbortSignal.any([signal, stopping]);
      const startedAtMs = performance.now();
      // Messages before faults: those that have come can be handled, whatever has become of the stream.
      while (current.waiting === 0 && !over.aborted) {
        await assertStanding(current);
        if (performance.now() - startedAtMs >= cadenceMs && current.health.silentMs() < silenceMs) {
          return { events: 0, nextInMs: 0 };
        }
        current.probe();
        await current.changed(LOOK_EVERY_MS, over);
      }
      signal.throwIfAborted();
      if (stopping.aborted) return await drain(current, context);
      // A burst is worth waiting for: what is gathered is one transaction, and of many changes of a mailbox one event.
      if (current.waiting < batchSize)
        await delay(gatherMs, undefined, { signal: over }).catch(() => undefined);
      return { events: await handle(current, context) };
    },
    async stop(): Promise<void> {
      await stream?.abandon();
      stream = undefined;
      metrics?.streamUp.set(0);
    },
    checks(): Readonly<Record<string, LoopCheck>> {
      if (stream === undefined) return { stream: { status: 'degraded', detail: 'no stream is open' } };
      const lost = stream.health.lost();
      const seconds = Math.round(stream.health.silentMs() / 1_000);
      if (lost !== undefined && lost.forMs >= lossMs) {
        return {
          stream: { status: 'degraded', detail: `lost (gRPC status ${lost.status.code}), reconnecting` },
        };
      }
      return stream.health.silentMs() < silenceMs
        ? { stream: { status: 'ok' } }
        : { stream: { status: 'degraded', detail: `nothing heard of Pub/Sub for ${seconds} s` } };
    },
  };
}

// Whether a streaming pull is alive, as its own traffic shows it.
//
// The client hides this: it retries streams by itself, replaces one that does not answer without a word, and an idle
// subscription looks like a dead one from outside. So every StreamingPull call is watched where gRPC lets one watch.
// The client sends an empty message every 30 s, and Pub/Sub answers it, also when there is nothing to deliver.

import { InterceptingCall, status as grpcStatus } from '@grpc/grpc-js';
import type { Interceptor } from '@grpc/grpc-js';

/** How a call ended, in the words of gRPC. */
export interface StreamStatus {
  /** One of `grpc.status`: 14 is UNAVAILABLE. */
  readonly code: number;
  readonly details: string;
}

export interface StreamHealth {
  /** Watches the calls of one client. */
  readonly interceptor: Interceptor;
  /** Since the server was last heard of, or since the watch began. In milliseconds. */
  silentMs(): number;
  /** How long there has been no stream that stands, and how the last one ended; undefined while one stands. */
  lost(): { readonly forMs: number; readonly status: StreamStatus } | undefined;
  /** How many streams the server has ended or refused since the watch began. */
  readonly ended: number;
  /** The server has answered another call: it is there. */
  answered(): void;
}

const STREAMING_PULL = '/google.pubsub.v1.Subscriber/StreamingPull';

/**
 * How long a stream must have been open to count as standing before anything has come through it. One that is refused
 * ends within this time.
 */
const SETTLED_MS = 2_000;

/** @param onChange something came, or a stream ended */
export function watchStreams(
  onChange: () => void,
  now: () => number = () => performance.now(),
): StreamHealth {
  let heardAtMs = now();
  let openedAtMs: number | undefined;
  let loss: { readonly atMs: number; readonly status: StreamStatus } | undefined;
  let ended = 0;

  function heard(): void {
    heardAtMs = now();
    loss = undefined;
  }

  function failed(status: StreamStatus): void {
    ended += 1;
    loss = { atMs: loss?.atMs ?? now(), status };
  }

  return {
    get ended(): number {
      return ended;
    },
    silentMs: () => now() - heardAtMs,
    answered(): void {
      heardAtMs = now();
    },
    lost() {
      if (loss === undefined) return undefined;
      if (openedAtMs !== undefined && now() - openedAtMs >= SETTLED_MS) {
        loss = undefined;
        return undefined;
      }
      return { forMs: now() - loss.atMs, status: loss.status };
    },
    interceptor: (options, nextCall) => {
      const call = nextCall(options);
      if (options.method_definition.path !== STREAMING_PULL) return new InterceptingCall(call);
      return new InterceptingCall(call, {
        start(metadata, _listener, next): void {
          openedAtMs = now();
          next(metadata, {
            onReceiveMetadata(received, pass): void {
              heard();
              onChange();
              pass(received);
            },
            onReceiveMessage(message: unknown, pass): void {
              heard();
              onChange();
              pass(message);
            },
            onReceiveStatus(status, pass): void {
              openedAtMs = undefined;
              // The client cancels a stream that does not answer, and opens another: it is the silence that counts then.
              if (status.code !== grpcStatus.CANCELLED)
                failed({ code: status.code, details: status.details });
              onChange();
              pass(status);
            },
          });
        },
      });
    },
  };
}

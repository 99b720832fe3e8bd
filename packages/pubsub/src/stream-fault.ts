// Why nothing can be pulled, for people.

import { PubSubError } from './pubsub-error.ts';
import type { StreamStatus } from './stream-health.ts';

const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;

/** What the client says when it has given a stream up. It has a gRPC code, or comes from fetching a token. */
export function closedFault(subscription: string, error: Error): PubSubError {
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'number') return streamFault(subscription, { code, details: error.message }, error);
  return denied(subscription, 'no access token could be had', error);
}

export function streamFault(subscription: string, status: StreamStatus, cause?: unknown): PubSubError {
  const { code, details } = status;
  if (code === NOT_FOUND) {
    return new PubSubError(
      'PUBSUB_SUBSCRIPTION_UNKNOWN',
      `the subscription ${subscription} does not exist in this project`,
      {
        hint: 'create it for the topic that Gmail publishes to, or correct the name and the project; the worker goes on by itself then',
        cause,
      },
    );
  }
  if (code === PERMISSION_DENIED || code === UNAUTHENTICATED) return denied(subscription, details, cause);
  return new PubSubError(
    'PUBSUB_STREAM_LOST',
    `the stream of ${subscription} is lost: ${details === '' ? 'it was closed' : details} (gRPC status ${code})`,
    {
      hint: 'it is opened again by itself; when it lasts, look at the network and at the status of Pub/Sub',
      cause,
    },
  );
}

function denied(subscription: string, what: string, cause: unknown): PubSubError {
  return new PubSubError('PUBSUB_ACCESS_DENIED', `Pub/Sub does not let us read ${subscription}: ${what}`, {
    hint: 'grant the account roles/pubsub.subscriber on the subscription, and mount credentials that are valid',
    cause,
  });
}

// What went wrong between us and Pub/Sub, and whether the events are at fault.

import { SinkError } from '@pulsebox/outbox';
import { status } from '@grpc/grpc-js';

/** What Pub/Sub answers when it is well and does not like what is in a request. */
const REJECTED: ReadonlySet<number> = new Set([status.INVALID_ARGUMENT, status.OUT_OF_RANGE]);

/** No publish will be taken until a person has done something. */
const DENIED: ReadonlySet<number> = new Set([
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
]);

/** Makes one kind of error of what the client throws: gRPC's, and those of fetching a token. */
export function publishFault(error: unknown, topic: string): SinkError {
  const { code, details } = error as { readonly code?: unknown; readonly details?: unknown };
  const known = typeof code === 'number' && status[code] !== undefined;
  const name = known ? status[code] : 'no answer';
  const words = known && typeof details === 'string' && details !== '' ? `${name}: ${details}` : name;
  const options = { cause: error, sinkCode: name };
  if (known && REJECTED.has(code)) {
    return new SinkError('rejected', 'PUBSUB_SINK_REJECTED', `publishing to ${topic}: ${words}`, {
      ...options,
      hint: 'Pub/Sub will refuse the same again; look at what the event holds, and at the schema of the topic',
    });
  }
  if (known && DENIED.has(code)) {
    return new SinkError('away', 'PUBSUB_SINK_DENIED', `publishing to ${topic}: ${words}`, {
      ...options,
      hint: 'check that the topic exists and that the account has roles/pubsub.publisher on it; the bridge goes on by itself then',
    });
  }
  return new SinkError('away', 'PUBSUB_SINK_AWAY', `publishing to ${topic}: ${words}`, {
    ...options,
    hint: 'nothing is lost: the events stay in the log and are published again; when it lasts, look at the network, the credentials and the status of Pub/Sub',
  });
}

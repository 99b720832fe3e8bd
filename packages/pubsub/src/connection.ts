// A client of Pub/Sub, and a way to watch its calls.

import { PubSub } from '@google-cloud/pubsub';
import type { Interceptor } from '@grpc/grpc-js';
import { readCredentials } from './credentials.ts';
import type { PubSubConnection } from './credentials.ts';

/**
 * A silent connection is found out after 45 s, as long as it takes to find out a silent stream. The client's own
 * default of five minutes is longer than anybody waits for mail.
 */
const TRANSPORT_KEEP_ALIVE = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 15_000,
};

/**
 * A client of its own, with a channel of its own. Nothing is asked of the network yet. The credentials are read anew, so
 * that a secret that was replaced is taken up with the next connection.
 *
 * @param interceptor sees every call
 * @throws PUBSUB_CREDENTIALS_INVALID
 */
export function connect(connection: PubSubConnection, interceptor?: Interceptor): PubSub {
  const { projectId, credentialsFile, emulatorHost } = connection;
  const observed =
    interceptor === undefined ? {} : { 'grpc.callInvocationTransformer': withInterceptor(interceptor) };
  if (emulatorHost !== undefined) {
    return new PubSub({
      projectId,
      apiEndpoint: emulatorHost,
      emulatorMode: true,
      // Else the client goes looking for credentials, and for a metadata server that no laptop has.
      clientOptions: { universeDomain: 'googleapis.com' },
      ...TRANSPORT_KEEP_ALIVE,
      ...observed,
    });
  }
  return new PubSub({
    projectId,
    ...(credentialsFile === undefined ? {} : { credentials: readCredentials(credentialsFile) }),
    ...TRANSPORT_KEEP_ALIVE,
    ...observed,
  });
}

/** The one way through the client to the calls that it makes. */
function withInterceptor(interceptor: Interceptor): (call: CallProperties) => CallProperties {
  return (call) => ({
    ...call,
    callOptions: {
      ...call.callOptions,
      interceptors: [...(call.callOptions?.interceptors ?? []), interceptor],
    },
  });
}

interface CallProperties {
  readonly callOptions?: { readonly interceptors?: readonly Interceptor[] };
}

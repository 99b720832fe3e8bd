// Clients of Pub/Sub, and a way to watch their calls.

import { PubSub, v1 } from '@google-cloud/pubsub';
import { credentials as grpcCredentials } from '@grpc/grpc-js';
import type { Interceptor } from '@grpc/grpc-js';
import { readCredentials } from './credentials.ts';
import type { PubSubConnection } from './credentials.ts';

/**
 * A silent connection is found out after 45 s, as long as it takes to find out a silent stream. The client's own
 * default of five minutes is longer than anybody waits for mail.
 */
const TRANSPORT = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 15_000,
};

/** Else the client goes looking for credentials, and for a metadata server that no laptop has. */
const NO_CREDENTIALS = { clientOptions: { universeDomain: 'googleapis.com' } };

/**
 * A client of its own, with a channel of its own. Nothing is asked of the network yet. The credentials are read anew, so
 * that a secret that was replaced is taken up with the next connection.
 *
 * @param interceptor sees every call
 * @throws PUBSUB_CREDENTIALS_INVALID
 */
export function connect(connection: PubSubConnection, interceptor: Interceptor): PubSub {
  const { projectId, emulatorHost } = connection;
  const options = {
    projectId,
    ...TRANSPORT,
    'grpc.callInvocationTransformer': withInterceptor(interceptor),
  };
  return emulatorHost === undefined
    ? new PubSub({ ...options, ...credentialsOf(connection) })
    : new PubSub({ ...options, ...NO_CREDENTIALS, apiEndpoint: emulatorHost, emulatorMode: true });
}

/**
 * The client below the one for applications: one call is one request, with messages of as many ordering keys as there are.
 *
 * @throws PUBSUB_CREDENTIALS_INVALID
 */
export function connectPublisher(connection: PubSubConnection): v1.PublisherClient {
  const { projectId, emulatorHost } = connection;
  const options = { projectId, ...TRANSPORT };
  if (emulatorHost === undefined) return new v1.PublisherClient({ ...options, ...credentialsOf(connection) });
  const { hostname, port } = new URL(`http://${emulatorHost}`);
  return new v1.PublisherClient({
    ...options,
    ...NO_CREDENTIALS,
    servicePath: hostname,
    port: Number(port === '' ? 80 : port),
    sslCreds: grpcCredentials.createInsecure(),
  });
}

/**
 * Reads the protocol's description, which the first call of a process would do: 150 ms of processor time at once, in which a
 * busy machine takes seconds and a worker that has started looks stuck. Nothing is asked of the network.
 */
export async function loadProtocol(): Promise<void> {
  const client = new v1.PublisherClient({
    projectId: 'none',
    ...NO_CREDENTIALS,
    sslCreds: grpcCredentials.createInsecure(),
  });
  await client.initialize();
  await client.close();
}

function credentialsOf({ credentialsFile }: PubSubConnection): { readonly credentials?: object } {
  return credentialsFile === undefined ? {} : { credentials: readCredentials(credentialsFile) };
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

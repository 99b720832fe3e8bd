// A stand-in for Meilisearch that its real client cannot tell from it, as far as Pulsebox goes: tasks run later and one
// after the other, a failed one resolves, an index appears with its first document, keys are checked, payloads have a
// limit. Faults are injected by tests; every request is recorded.

import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { StandInFault, StandInIndex } from './meilisearch-index.ts';
import { answer, refusal } from './meilisearch-routes.ts';
import type { Answer } from './meilisearch-routes.ts';
import { asError, taskQueue } from './meilisearch-tasks.ts';
import type { StandInTask, TaskFault } from './meilisearch-tasks.ts';

export interface MeilisearchStandInOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Without it no key is asked for. */
  readonly apiKey?: string;
  /** How long a task takes, in milliseconds. Default 1. */
  readonly taskMs?: number;
  /** Default 100 MB. */
  readonly payloadLimitBytes?: number;
  /** Told of each request as it comes, before its answer: for measurements. */
  readonly onRequest?: (request: RecordedRequest) => void;
}

export interface RecordedRequest {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly bytes: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

/** What happens to a request instead of its answer. */
export type InjectedFault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly body: string;
      readonly headers?: Record<string, string>;
    }
  /** Nothing, ever. */
  | { readonly kind: 'silence' }
  /** The connection breaks. */
  | { readonly kind: 'reset' }
  /** The request is taken, but its task does not succeed. */
  | TaskFault;

export interface FaultInjection {
  readonly method: string;
  readonly path: RegExp;
  /** Default 1. */
  readonly times?: number;
  readonly fault: InjectedFault;
}

export interface MeilisearchStandIn {
  readonly url: string;
  readonly requests: readonly RecordedRequest[];
  readonly tasks: readonly StandInTask[];
  readonly indexes: ReadonlyMap<string, StandInIndex>;
  /** Recorded requests of this method whose path matches. */
  requestsTo(method: string, path: RegExp): RecordedRequest[];
  inject(injection: FaultInjection): void;
  /** Tasks stay enqueued until `resumeTasks`. */
  pauseTasks(): void;
  resumeTasks(): void;
  /** Forgets recorded requests. */
  forgetRequests(): void;
  close(): Promise<void>;
}

const PAYLOAD_LIMIT_BYTES = 100 * 1024 * 1024;

export async function startMeilisearchStandIn(
  options: MeilisearchStandInOptions = {},
): Promise<MeilisearchStandIn> {
  const indexes = new Map<string, StandInIndex>();
  const requests: RecordedRequest[] = [];
  const injections: { method: string; path: RegExp; left: number; fault: InjectedFault }[] = [];
  const queue = taskQueue(options.taskMs ?? 1);

  const server = createServer((request, response) => {
    void respond(request, response).catch((error: unknown) => {
      send(response, {
        status: 500,
        body: asError({ code: 'internal', type: 'internal', message: String(error) }),
      });
    });
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://stand-in');
    const method = request.method ?? 'GET';
    const text = await bodyOf(request);
    const bytes = Buffer.byteLength(text);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const recorded = { method, path: url.pathname, bytes, headers: request.headers, body };
    requests.push(recorded);
    options.onRequest?.(recorded);

    const injection = injections.find(
      (one) => one.left > 0 && one.method === method && one.path.test(url.pathname),
    );
    if (injection !== undefined) injection.left -= 1;
    const fault = injection?.fault;
    if (fault?.kind === 'silence') return;
    if (fault?.kind === 'reset') {
      request.socket.destroy();
      return;
    }
    if (fault?.kind === 'answer') {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    const refused =
      wrongKey(request, options.apiKey) ??
      (bytes > (options.payloadLimitBytes ?? PAYLOAD_LIMIT_BYTES)
        ? refusal(413, 'payload_too_large', 'The provided payload reached the size limit.')
        : undefined);
    const asked = {
      method,
      url,
      body,
      indexes,
      tasks: queue.tasks,
      enqueue: (type: string, uid: string | null, work: () => StandInFault | undefined): Answer => ({
        status: 202,
        body: queue.add({ type, indexUid: uid, work, fault }),
      }),
    };
    send(response, refused ?? answer(asked));
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    indexes,
    tasks: queue.tasks,
    requestsTo: (method, path) => requests.filter((one) => one.method === method && path.test(one.path)),
    inject: ({ method, path, times = 1, fault }) =>
      void injections.push({ method, path, left: times, fault }),
    pauseTasks: () => queue.pause(),
    resumeTasks: () => queue.resume(),
    forgetRequests: () => void requests.splice(0),
    async close(): Promise<void> {
      queue.stop();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function wrongKey(request: IncomingMessage, apiKey: string | undefined): Answer | undefined {
  const given = request.headers.authorization;
  if (apiKey === undefined || given === `Bearer ${apiKey}` || request.url === '/health') return undefined;
  return given === undefined
    ? refusal(401, 'missing_authorization_header', 'The Authorization header is missing.', 'auth')
    : refusal(403, 'invalid_api_key', 'The provided API key is invalid.', 'auth');
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function send(response: ServerResponse, { status, body }: Answer): void {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(body === undefined ? '' : JSON.stringify(body));
}

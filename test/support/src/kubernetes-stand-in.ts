// A stand-in for the API server of Kubernetes, as far as Pods and Services of one namespace go: over TLS, with the account
// of a Role that grants what ours does and refuses the rest. Tests injure it; every request is recorded.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createCertificate } from './certificate.ts';
import { discovery } from './kubernetes-discovery.ts';
import { ClusterState } from './kubernetes-objects.ts';
import type { DeleteRequest, Resource } from './kubernetes-objects.ts';
import { failure, forbidden, pageNotFound, unauthorized } from './kubernetes-status.ts';
import type { KubernetesAnswer } from './kubernetes-status.ts';

export type KubernetesFault =
  | { readonly kind: 'answer'; readonly answer: KubernetesAnswer }
  /** The connection breaks before anything is done. */
  | { readonly kind: 'reset' }
  /** It is done, and the connection breaks before the answer. */
  | { readonly kind: 'lost-answer' }
  /** Nothing is done or said, ever. */
  | { readonly kind: 'silence' }
  /** It is done and answered after this; when the client has gone by then, it is done all the same. */
  | { readonly kind: 'slow'; readonly ms: number };

export interface KubernetesFaultInjection {
  /** `POST`, `DELETE`. Default: any. */
  readonly method?: string;
  readonly path?: RegExp;
  /** How many requests it meets. Default 1. */
  readonly times?: number;
  readonly fault: KubernetesFault;
}

export interface RecordedKubernetesRequest {
  readonly method: string;
  readonly path: string;
  readonly search: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  status: number | undefined;
}

export interface KubernetesStandIn {
  readonly url: string;
  readonly namespace: string;
  /** A file for clients, kubectl included, with the account of our Role. */
  readonly kubeconfig: string;
  readonly state: ClusterState;
  readonly requests: readonly RecordedKubernetesRequest[];
  /** What the Role grants on a resource. Default get, list, create, delete. */
  grant(resource: Resource, verbs: readonly string[]): void;
  inject(injection: KubernetesFaultInjection): void;
  /** Ends all injections and outages. */
  heal(): void;
  /** Connections are broken, and no new ones are taken up, until it is healed. */
  outage(): void;
  /** Called after every request that was carried out. */
  onRequest(listener: (request: RecordedKubernetesRequest) => void): void;
  close(): Promise<void>;
}

const OUR_ROLE = ['get', 'list', 'create', 'delete'];
const USER = 'system:serviceaccount:agents:backend-openclaw-runtime';

export async function startKubernetesStandIn(): Promise<KubernetesStandIn> {
  const namespace = 'agents';
  const state = new ClusterState();
  const token = randomBytes(16).toString('hex');
  const requests: RecordedKubernetesRequest[] = [];
  const listeners: ((request: RecordedKubernetesRequest) => void)[] = [];
  const role = new Map<Resource, readonly string[]>([
    ['pods', OUR_ROLE],
    ['services', OUR_ROLE],
  ]);
  let injections: { injection: KubernetesFaultInjection; left: number }[] = [];
  let away = false;
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  const { certificate, key } = createCertificate();

  const server = createServer({ cert: certificate, key }, (request, response) => {
    void respond(request, response).catch((error: unknown) => {
      if (closing.signal.aborted || response.destroyed) return;
      send(response, failure(500, 'InternalError', `the stand-in failed: ${String(error)}`));
    });
  });
  server.on('secureConnection', (socket) => {
    if (away) socket.destroy();
  });
  server.on('connection', (socket: Socket) => {
    if (away) socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://stand-in');
    const text = await bodyOf(request);
    const recorded: RecordedKubernetesRequest = {
      method: request.method ?? 'GET',
      path: url.pathname,
      search: url.searchParams,
      headers: request.headers,
      body: text === '' ? undefined : parsed(text),
      status: undefined,
    };
    requests.push(recorded);
    const fault = takeFault(recorded);
    if (fault?.kind === 'reset' || fault?.kind === 'silence') {
      if (fault.kind === 'reset') request.socket.destroy();
      return;
    }
    if (fault?.kind === 'slow') await delay(fault.ms, undefined, { signal: closing.signal });
    const answer = fault?.kind === 'answer' ? fault.answer : checked(request, recorded);
    recorded.status = answer.status;
    for (const listener of listeners) listener(recorded);
    if (fault?.kind === 'lost-answer') request.socket.destroy();
    else send(response, answer);
  }

  function checked({ headers }: IncomingMessage, recorded: RecordedKubernetesRequest): KubernetesAnswer {
    if (headers.authorization !== `Bearer ${token}`) return unauthorized();
    // The real one reads these as well.
    if (/protobuf|cbor/.test(headers['content-type'] ?? '')) {
      const message =
        'the body of the request was in an unknown format - accepted media types include: application/json';
      return failure(415, 'UnsupportedMediaType', message);
    }
    return answerTo(recorded);
  }

  function takeFault(request: RecordedKubernetesRequest): KubernetesFault | undefined {
    const found = injections.find(
      ({ injection: { method, path }, left }) =>
        left > 0 &&
        (method === undefined || method === request.method) &&
        (path === undefined || path.test(request.path)),
    );
    if (found === undefined) return undefined;
    found.left -= 1;
    return found.injection.fault;
  }

  function answerTo({ method, path, search, body }: RecordedKubernetesRequest): KubernetesAnswer {
    const discovered = method === 'GET' ? discovery(path) : undefined;
    if (discovered !== undefined) return discovered;
    if (path === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews') return review(body);
    const [, ofNamespace, resource, name] =
      /^\/api\/v1\/namespaces\/([^/]+)\/(pods|services)(?:\/([^/]+))?$/.exec(path) ?? [];
    const [, asked] = /^\/api\/v1\/namespaces\/([^/]+)$/.exec(path) ?? [];
    if (asked !== undefined) return forbidden(USER, 'get', 'namespaces', asked, asked);
    if (ofNamespace === undefined) return pageNotFound();
    const of = resource as Resource;
    const verb = verbOf(method, name, search);
    if (ofNamespace !== namespace || role.get(of)?.includes(verb) !== true) {
      return forbidden(USER, verb, of, ofNamespace, name);
    }
    switch (verb) {
      case 'list':
        return state.list(of, namespace, {
          selector: search.get('labelSelector') ?? '',
          limit: Number(search.get('limit') ?? 0),
          token: search.get('continue') ?? '',
        });
      case 'get':
        return state.get(of, namespace, name ?? '');
      case 'create':
        return state.create(of, namespace, body);
      case 'delete':
        return state.delete(of, namespace, name ?? '', {
          ...(body as DeleteRequest | undefined),
          ...(search.has('gracePeriodSeconds')
            ? { gracePeriodSeconds: Number(search.get('gracePeriodSeconds')) }
            : {}),
        });
      default:
        return failure(
          405,
          'MethodNotAllowed',
          'the server does not allow this method on the requested resource',
        );
    }
  }

  function review(body: unknown): KubernetesAnswer {
    const { spec = {} } = body as {
      spec?: { resourceAttributes?: { verb?: string; resource?: string; namespace?: string } };
    };
    const { verb = '', resource = '', namespace: asked } = spec.resourceAttributes ?? {};
    const allowed = asked === namespace && role.get(resource as Resource)?.includes(verb) === true;
    return {
      status: 201,
      body: {
        kind: 'SelfSubjectAccessReview',
        apiVersion: 'authorization.k8s.io/v1',
        metadata: {},
        spec,
        status: { allowed },
      },
    };
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = await mkdtemp(join(tmpdir(), 'pulsebox-kubernetes-'));
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(kubeconfig, JSON.stringify(kubeconfigOf({ url, certificate, token, namespace })));

  return {
    url,
    namespace,
    kubeconfig,
    state,
    requests,
    grant: (resource, verbs) => void role.set(resource, verbs),
    inject: (injection) => void injections.push({ injection, left: injection.times ?? 1 }),
    heal() {
      injections = [];
      away = false;
    },
    outage() {
      away = true;
      for (const socket of sockets) socket.destroy();
    },
    onRequest: (listener) => void listeners.push(listener),
    async close() {
      closing.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function verbOf(method: string, name: string | undefined, search: URLSearchParams): string {
  switch (method) {
    case 'GET':
      if (['1', 'true'].includes(search.get('watch') ?? '')) return 'watch';
      return name === undefined ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'DELETE':
      return name === undefined ? 'deletecollection' : 'delete';
    case 'PATCH':
      return 'patch';
    default:
      return 'update';
  }
}

interface Account {
  readonly url: string;
  readonly certificate: string;
  readonly token: string;
  readonly namespace: string;
}

/** JSON is YAML. */
function kubeconfigOf({ url, certificate, token, namespace }: Account): object {
  const authority = Buffer.from(certificate).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'stand-in', cluster: { server: url, 'certificate-authority-data': authority } }],
    users: [{ name: 'runtime', user: { token } }],
    contexts: [{ name: 'stand-in', context: { cluster: 'stand-in', user: 'runtime', namespace } }],
    'current-context': 'stand-in',
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function send(response: ServerResponse, { status, body, headers = {} }: KubernetesAnswer): void {
  if (response.destroyed) return;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, {
    'content-type': typeof body === 'string' ? 'text/plain' : 'application/json',
    ...headers,
  });
  response.end(text);
}

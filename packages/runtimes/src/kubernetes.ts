// The cluster behind the official client, with what that leaves to its callers: deadlines, pages, and faults of one kind.

import type { ApiException, ConfigurationOptions, CoreV1Api, RequestContext } from '@kubernetes/client-node';
import { apiFault } from './api-fault.ts';
import type { Cluster, ClusterView, SeenObject, SeenPod, SeenService } from './cluster.ts';
import { loadAccess } from './cluster-access.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { RUNTIME_SELECTOR } from './manifests.ts';
import type { RuntimesError } from './runtimes-error.ts';
import type { RuntimesMetrics } from './runtimes-metrics.ts';
import { seenPod, seenService } from './seen.ts';

export interface KubernetesOptions extends ClusterAccess {
  /** The longest one call may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** How many objects are listed at once. Default 200. */
  readonly pageSize?: number;
  readonly metrics?: RuntimesMetrics | undefined;
}

/** How often a listing may begin anew because its pages were forgotten. */
const MOST_LISTINGS = 3;

type CallOptions = ConfigurationOptions;

interface Page<T> {
  readonly items: readonly T[];
  readonly metadata?: { readonly _continue?: string };
}

/** Asks the API server nothing yet. @throws RUNTIMES_CONFIG_INVALID */
export async function openKubernetes(options: KubernetesOptions): Promise<Cluster> {
  const { timeoutMs = 10_000, pageSize = 200, metrics } = options;
  const client = await import('@kubernetes/client-node');
  const { config, namespace } = await loadAccess(options);
  const api: CoreV1Api = config.makeApiClient(client.CoreV1Api);
  const closing = new AbortController();
  let fault: string | undefined;

  /** Aborts the request, its body included, when the signal aborts or the deadline has passed. */
  function bounded(signal: AbortSignal): CallOptions {
    const limit = AbortSignal.any([signal, closing.signal, AbortSignal.timeout(timeoutMs)]);
    return {
      middleware: [
        {
          pre(request: RequestContext) {
            request.setSignal(limit);
            return new client.Observable(Promise.resolve(request));
          },
          post: (response) => new client.Observable(Promise.resolve(response)),
        },
      ],
      middlewareMergeStrategy: 'append',
    };
  }

  async function call<T>(
    verb: 'get' | 'list' | 'create' | 'delete',
    what: string,
    signal: AbortSignal,
    send: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const startedAtMs = performance.now();
    try {
      const result = await send(bounded(signal));
      fault = undefined;
      count(verb, 'ok', startedAtMs);
      return result;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const found = apiFault(error, `${verb} ${what}`);
      count(verb, outcomeOf(found), startedAtMs);
      // What the API server says of one object is no fault of the API server.
      fault = found.code === 'RUNTIMES_API_REFUSED' ? undefined : found.message;
      throw found;
    }
  }

  function count(verb: string, outcome: string, startedAtMs: number): void {
    metrics?.requests.inc({ verb, outcome });
    metrics?.requestDuration.observe({ verb }, (performance.now() - startedAtMs) / 1_000);
  }

  /** Page by page. A page that is too old to go on from (410) has the listing begin anew. */
  async function listAll<T>(
    what: string,
    signal: AbortSignal,
    read: (page: { limit: number; _continue?: string }, options: CallOptions) => Promise<Page<T>>,
  ): Promise<T[]> {
    for (let listing = 1; ; listing += 1) {
      try {
        const found: T[] = [];
        let next: string | undefined;
        do {
          // oxlint-disable-next-line no-underscore-dangle -- the client's name for it
          const page = { limit: pageSize, ...(next === undefined ? {} : { _continue: next }) };
          const { items, metadata } = await call('list', what, signal, (limit) => read(page, limit));
          found.push(...items);
          // oxlint-disable-next-line no-underscore-dangle -- as above
          next = metadata?._continue === '' ? undefined : metadata?._continue;
        } while (next !== undefined);
        return found;
      } catch (error) {
        if (statusOf(error) !== 410 || listing === MOST_LISTINGS) throw error;
      }
    }
  }

  return {
    namespace,
    get fault(): string | undefined {
      return fault;
    },
    async list(signal): Promise<ClusterView> {
      const labelled = { namespace, labelSelector: RUNTIME_SELECTOR };
      const pods = await listAll('pods', signal, (page, limit) =>
        api.listNamespacedPod({ ...labelled, ...page }, limit),
      );
      const services = await listAll('services', signal, (page, limit) =>
        api.listNamespacedService({ ...labelled, ...page }, limit),
      );
      return { pods: pods.map(seenPod), services: services.map(seenService) };
    },
    async getPod(name, signal): Promise<SeenPod | undefined> {
      const pod = await unless(
        404,
        call('get', `Pod ${name}`, signal, (limit) => api.readNamespacedPod({ name, namespace }, limit)),
      );
      return pod === undefined ? undefined : seenPod(pod);
    },
    async getService(name, signal): Promise<SeenService | undefined> {
      const service = await unless(
        404,
        call('get', `Service ${name}`, signal, (limit) =>
          api.readNamespacedService({ name, namespace }, limit),
        ),
      );
      return service === undefined ? undefined : seenService(service);
    },
    async createPod(body, signal): Promise<SeenPod | 'exists'> {
      const what = `Pod ${body.metadata?.name}`;
      const pod = await unless(
        409,
        call('create', what, signal, (limit) => api.createNamespacedPod({ namespace, body }, limit)),
      );
      return pod === undefined ? 'exists' : seenPod(pod);
    },
    async createService(body, signal): Promise<SeenService | 'exists'> {
      const what = `Service ${body.metadata?.name}`;
      const service = await unless(
        409,
        call('create', what, signal, (limit) => api.createNamespacedService({ namespace, body }, limit)),
      );
      return service === undefined ? 'exists' : seenService(service);
    },
    async remove({ kind, name, uid }: SeenObject, signal) {
      const request = { name, namespace, body: { preconditions: { uid } } };
      try {
        await call('delete', `${kind} ${name}`, signal, async (limit) =>
          kind === 'Pod'
            ? await api.deleteNamespacedPod(request, limit)
            : await api.deleteNamespacedService(request, limit),
        );
        return 'deleting';
      } catch (error) {
        if (!isOfObject(error)) throw error;
        if (statusOf(error) === 404) return 'gone';
        if (statusOf(error) === 409) return 'replaced';
        throw error;
      }
    },
    close(): Promise<void> {
      closing.abort();
      return Promise.resolve();
    },
  };
}

/** Result: what `send` does, or undefined when the API server answers with this status. */
async function unless<T>(status: number, send: Promise<T>): Promise<T | undefined> {
  try {
    return await send;
  } catch (error) {
    if (statusOf(error) === status && isOfObject(error)) return undefined;
    throw error;
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as RuntimesError).status;
}

/** The answer is the API server's own word on an object, not that of a proxy which knows no such page. */
function isOfObject(error: unknown): boolean {
  const { body } = ((error as RuntimesError).cause ?? {}) as Partial<ApiException<unknown>>;
  try {
    return (JSON.parse(String(body)) as { kind?: unknown }).kind === 'Status';
  } catch {
    return false;
  }
}

function outcomeOf({ code, status }: RuntimesError): string {
  if (code === 'RUNTIMES_API_THROTTLED') return 'throttled';
  if (code === 'RUNTIMES_API_DENIED') return 'denied';
  if (code !== 'RUNTIMES_API_REFUSED') return 'away';
  // Part of the way things go: created already, gone already.
  return status === 404 || status === 409 ? 'conflict' : 'refused';
}

// The stand-in's memory: Pods and Services of namespaces, with what the API server does to them.

import { randomUUID } from 'node:crypto';
import { podStatus, stamp } from './kubernetes-pods.ts';
import type { PodBehaviour } from './kubernetes-pods.ts';
import { alreadyExists, conflict, expired, failure, invalid, notFound } from './kubernetes-status.ts';
import type { KubernetesAnswer } from './kubernetes-status.ts';

export type Resource = 'pods' | 'services';

interface Metadata {
  name: string;
  namespace: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  finalizers?: readonly string[];
  labels?: Readonly<Record<string, string>>;
  annotations?: Readonly<Record<string, string>>;
}

export interface StoredObject {
  readonly metadata: Metadata;
  readonly spec: Readonly<Record<string, unknown>>;
}

interface Kept {
  readonly object: StoredObject;
  readonly resource: Resource;
  readonly createdAtMs: number;
  deletedAtMs: number | undefined;
}

export interface ClusterBehaviour {
  /** How long a Pod takes to become ready, in milliseconds. Default 0. */
  startMs: number;
  /** How long a Pod that was deleted takes to go, in milliseconds. Default 0. */
  terminationMs: number;
}

export interface DeleteRequest {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

const KINDS: Readonly<Record<Resource, string>> = { pods: 'Pod', services: 'Service' };
const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
const QUANTITY = /^\d+(?:\.\d+)?(?:m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;

export class ClusterState {
  readonly behaviour: ClusterBehaviour = { startMs: 0, terminationMs: 0 };
  /** The greatest number of Pods that there were at once. */
  mostPods = 0;
  created = 0;
  readonly #kept = new Map<string, Kept>();
  readonly #behaviours = new Map<string, PodBehaviour>();
  readonly #pages = new Map<string, { readonly rest: readonly StoredObject[]; readonly version: string }>();
  #version = 1_000;

  /** How the Pod of this name, or every Pod, fares from now on. */
  behave(behaviour: PodBehaviour, name = '*'): void {
    this.#behaviours.set(name, behaviour);
  }

  objects(resource: Resource): readonly StoredObject[] {
    this.#purge();
    return [...this.#kept.values()]
      .filter((kept) => kept.resource === resource)
      .map((kept) => this.#shown(kept));
  }

  /** Forgets all pages that were begun: compaction. */
  compact(): void {
    this.#pages.clear();
  }

  /** Takes the finalizers of an object away, so that it may go. */
  release(resource: Resource, namespace: string, name: string): void {
    const kept = this.#kept.get(keyOf(resource, namespace, name));
    if (kept !== undefined) delete kept.object.metadata.finalizers;
  }

  /** Removes it at once, as a node that is lost, or somebody with force, does. */
  vanish(resource: Resource, namespace: string, name: string): void {
    this.#kept.delete(keyOf(resource, namespace, name));
  }

  /** Makes it as old as this, in milliseconds. */
  age(resource: Resource, namespace: string, name: string, ageMs: number): void {
    const kept = this.#kept.get(keyOf(resource, namespace, name));
    if (kept !== undefined) kept.object.metadata.creationTimestamp = stamp(Date.now() - ageMs);
  }

  list(
    resource: Resource,
    namespace: string,
    query: { selector: string; limit: number; token: string },
  ): KubernetesAnswer {
    this.#purge();
    let rest: readonly StoredObject[];
    let version = String(this.#version);
    if (query.token === '') {
      const matches = selectorOf(query.selector);
      if (matches === undefined) {
        return failure(400, 'BadRequest', `unable to parse requirement: ${query.selector}`);
      }
      rest = [...this.#kept.values()]
        .filter((kept) => kept.resource === resource && kept.object.metadata.namespace === namespace)
        .filter(({ object }) => matches(object.metadata.labels ?? {}))
        .map((kept) => this.#shown(kept))
        .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    } else {
      const page = this.#pages.get(query.token);
      if (page === undefined) return expired();
      ({ rest, version } = page);
    }
    const items = query.limit > 0 ? rest.slice(0, query.limit) : rest;
    const left = rest.slice(items.length);
    let next = '';
    if (left.length > 0) {
      next = Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: version, start: randomUUID() })).toString(
        'base64url',
      );
      // The list is that of the moment in which it was begun.
      this.#pages.set(next, { rest: left, version });
    }
    return {
      status: 200,
      body: {
        kind: `${KINDS[resource]}List`,
        apiVersion: 'v1',
        metadata: { resourceVersion: version, ...(next === '' ? {} : { continue: next }) },
        items,
      },
    };
  }

  get(resource: Resource, namespace: string, name: string): KubernetesAnswer {
    this.#purge();
    const kept = this.#kept.get(keyOf(resource, namespace, name));
    if (kept === undefined) return notFound(resource, name);
    return { status: 200, body: this.#whole(kept) };
  }

  create(resource: Resource, namespace: string, body: unknown): KubernetesAnswer {
    this.#purge();
    const given = body as { kind?: string; metadata?: Partial<Metadata>; spec?: Record<string, unknown> };
    const name = given.metadata?.name ?? '';
    const kind = KINDS[resource];
    if (given.kind !== undefined && given.kind !== kind) {
      return failure(400, 'BadRequest', `${given.kind} in version "v1" cannot be handled as a ${kind}`);
    }
    if (given.metadata?.namespace !== undefined && given.metadata.namespace !== namespace) {
      return failure(
        400,
        'BadRequest',
        'the namespace of the provided object does not match the namespace sent on the request',
      );
    }
    const fault = faultOf(resource, name, given.metadata?.labels ?? {}, given.spec ?? {});
    if (fault !== undefined) return fault;
    const key = keyOf(resource, namespace, name);
    const before = this.#kept.get(key);
    if (before !== undefined) return alreadyExists(resource, name, before.deletedAtMs !== undefined);
    const { labels, annotations, finalizers } = given.metadata ?? {};
    const kept: Kept = {
      resource,
      createdAtMs: Date.now(),
      deletedAtMs: undefined,
      object: {
        metadata: {
          name,
          namespace,
          uid: randomUUID(),
          resourceVersion: this.#nextVersion(),
          creationTimestamp: stamp(Date.now()),
          ...(labels === undefined ? {} : { labels }),
          ...(annotations === undefined ? {} : { annotations }),
          ...(finalizers === undefined ? {} : { finalizers }),
        },
        spec: resource === 'services' ? { clusterIP: '10.43.0.9', ...given.spec } : (given.spec ?? {}),
      },
    };
    this.#kept.set(key, kept);
    if (resource === 'pods') {
      this.created += 1;
      this.mostPods = Math.max(this.mostPods, this.objects('pods').length);
    }
    return { status: 201, body: this.#whole(kept) };
  }

  delete(resource: Resource, namespace: string, name: string, request: DeleteRequest): KubernetesAnswer {
    this.#purge();
    const kept = this.#kept.get(keyOf(resource, namespace, name));
    if (kept === undefined) return notFound(resource, name);
    const { metadata, spec } = kept.object;
    const { uid, resourceVersion } = request.preconditions ?? {};
    if (uid !== undefined && uid !== metadata.uid) {
      return conflict(
        resource,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
      );
    }
    if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
      return conflict(
        resource,
        name,
        `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`,
      );
    }
    const graceSeconds =
      request.gracePeriodSeconds ??
      (resource === 'pods' ? Number(spec['terminationGracePeriodSeconds'] ?? 30) : 0);
    kept.deletedAtMs ??= Date.now();
    metadata.deletionTimestamp ??= stamp(Date.now() + graceSeconds * 1_000);
    metadata.deletionGracePeriodSeconds ??= graceSeconds;
    metadata.resourceVersion = this.#nextVersion();
    // A Service without finalizers is gone with the answer; a Pod when its kubelet says so, or by force.
    const answer = { status: 200, body: this.#whole(kept) };
    if (graceSeconds === 0 && metadata.finalizers === undefined) {
      this.#kept.delete(keyOf(resource, namespace, name));
    }
    return answer;
  }

  #nextVersion(): string {
    this.#version += 1;
    return String(this.#version);
  }

  #purge(): void {
    for (const [key, { object, deletedAtMs }] of this.#kept) {
      if (deletedAtMs === undefined || object.metadata.finalizers !== undefined) continue;
      if (Date.now() - deletedAtMs >= this.behaviour.terminationMs) this.#kept.delete(key);
    }
  }

  #shown({ object, resource, createdAtMs }: Kept): StoredObject & { readonly status: unknown } {
    const { metadata, spec } = object;
    const [container] = (spec['containers'] ?? []) as readonly { readonly name?: string }[];
    const behaviour = this.#behaviours.get(metadata.name) ?? this.#behaviours.get('*') ?? 'ready';
    const status =
      resource === 'services'
        ? { loadBalancer: {} }
        : podStatus(behaviour, {
            sinceMs: createdAtMs,
            startMs: this.behaviour.startMs,
            container: container?.name ?? '',
          });
    return { ...structuredClone(object), status };
  }

  #whole(kept: Kept): object {
    return { kind: KINDS[kept.resource], apiVersion: 'v1', ...this.#shown(kept) };
  }
}

function keyOf(resource: Resource, namespace: string, name: string): string {
  return `${resource}/${namespace}/${name}`;
}

/** As far as runtimes could get it wrong. */
function faultOf(
  resource: Resource,
  name: string,
  labels: Readonly<Record<string, string>>,
  spec: Readonly<Record<string, unknown>>,
): KubernetesAnswer | undefined {
  const kind = KINDS[resource];
  if (!DNS_LABEL.test(name) || (resource === 'services' && /^\d/.test(name))) {
    return invalid(
      kind,
      name,
      'metadata.name',
      `Invalid value: ${JSON.stringify(name)}: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'`,
    );
  }
  for (const [label, value] of Object.entries(labels)) {
    if (LABEL_VALUE.test(value)) continue;
    return invalid(
      kind,
      name,
      'metadata.labels',
      `Invalid value: ${JSON.stringify(value)}: a valid label must be an empty string or consist of alphanumeric characters (${label})`,
    );
  }
  if (resource === 'services') {
    const ports = spec['ports'] as readonly unknown[] | undefined;
    return (ports?.length ?? 0) > 0 ? undefined : invalid(kind, name, 'spec.ports', 'Required value');
  }
  const containers = (spec['containers'] ?? []) as readonly {
    readonly image?: string;
    readonly resources?: Record<string, Record<string, string>>;
  }[];
  if (containers.length === 0) return invalid(kind, name, 'spec.containers', 'Required value');
  for (const { image = '', resources = {} } of containers) {
    if (image.trim() === '') return invalid(kind, name, 'spec.containers[0].image', 'Required value');
    for (const quantity of Object.values(resources).flatMap((amounts) => Object.values(amounts))) {
      if (!QUANTITY.test(quantity)) {
        return failure(
          400,
          'BadRequest',
          `Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression, got ${quantity}`,
        );
      }
    }
  }
  return undefined;
}

/** Equality, sets and existence, as the API server reads them. Undefined: it cannot be read. */
function selectorOf(text: string): ((labels: Readonly<Record<string, string>>) => boolean) | undefined {
  const requirements = text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const tests: ((labels: Readonly<Record<string, string>>) => boolean)[] = [];
  for (const requirement of requirements) {
    const equal = /^([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)$/.exec(requirement);
    const set = /^([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(requirement);
    const exists = /^(!?)([\w./-]+)$/.exec(requirement);
    if (equal !== null) {
      const [, key = '', operator, value] = equal;
      tests.push((labels) => (labels[key] === value) === (operator !== '!='));
    } else if (set !== null) {
      const [, key = '', operator, values = ''] = set;
      const allowed = new Set(values.split(',').map((value) => value.trim()));
      tests.push((labels) => allowed.has(labels[key] ?? '\0') === (operator === 'in'));
    } else if (exists !== null) {
      const [, not, key = ''] = exists;
      tests.push((labels) => Object.hasOwn(labels, key) === (not === ''));
    } else return undefined;
  }
  return (labels) => tests.every((fits) => fits(labels));
}

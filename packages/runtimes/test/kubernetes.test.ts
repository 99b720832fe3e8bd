// The client: pages, deadlines, and what each answer of the API server means.

import { openKubernetes, RuntimesError } from '@pulsebox/runtimes';
import { podOf, serviceOf } from '../src/manifests.ts';
import type { Cluster } from '@pulsebox/runtimes';
import { failure, startKubernetesStandIn, tooManyRequests } from '@pulsebox/test-support';
import type { KubernetesAnswer, KubernetesFault, KubernetesStandIn } from '@pulsebox/test-support';
import { writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { SPEC } from './runtimes-world.ts';

/** A busy machine takes its time. */
const never = new AbortController().signal;

let kube: KubernetesStandIn;
let cluster: Cluster;

beforeAll(async () => {
  kube = await startKubernetesStandIn();
  cluster = await openKubernetes({
    kubeconfig: kube.kubeconfig,
    namespace: undefined,
    // Waited out by the test of a server that is silent, and by no other: a busy machine answers late.
    timeoutMs: 5_000,
    pageSize: 2,
  });
});
afterAll(async () => {
  await cluster.close();
  await kube.close();
});
afterEach(() => {
  kube.heal();
  for (const resource of ['pods', 'services'] as const) {
    for (const { metadata } of kube.state.objects(resource))
      kube.state.vanish(resource, 'agents', metadata.name);
  }
});

function toMake(userId: string): { userId: string; startId: string; settings: object } {
  return { userId, startId: 'one', settings: {} };
}

async function fill(users: readonly string[]): Promise<void> {
  for (const user of users) await cluster.createPod(podOf(toMake(user), SPEC), never);
}

async function refusal(work: Promise<unknown>): Promise<RuntimesError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RuntimesError) return error;
    throw error;
  }
  throw new Error('expected a refusal, but it went well');
}

test('lists all pages, and only what carries the labels of runtimes', async () => {
  await fill(['a', 'b', 'c', 'd', 'e']);
  kube.state.create('pods', 'agents', {
    metadata: { name: 'foreign', labels: { app: 'openclaw' } },
    spec: { containers: [{ image: 'x' }] },
  });
  const before = kube.requests.length;
  const { pods } = await cluster.list(never);
  expect(pods.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e'].map((user) => `openclaw-${user}`));
  expect(pods[0]).toMatchObject({ userId: 'a', startId: 'one', deleting: false, condition: { is: 'ready' } });
  expect(kube.requests.slice(before).filter(({ path }) => path.endsWith('/pods'))).toHaveLength(3);
});

test('a listing whose pages were forgotten (410) begins anew, and not for ever', async () => {
  await fill(['a', 'b', 'c']);
  let forgotten = 0;
  kube.onRequest(({ path, search }) => {
    if (path.endsWith('/pods') && search.has('limit') && !search.has('continue') && forgotten < 1) {
      forgotten += 1;
      kube.state.compact();
    }
  });
  expect((await cluster.list(never)).pods).toHaveLength(3);
  kube.inject({ times: 100, path: /pods/, fault: answer(failure(410, 'Expired', 'too old')) });
  expect(await refusal(cluster.list(never))).toMatchObject({ code: 'RUNTIMES_API_REFUSED', status: 410 });
});

test('an absent object is an answer; a page of something else in front of the API server is not', async () => {
  expect(await cluster.getPod('openclaw-nobody', never)).toBeUndefined();
  expect(await cluster.getService('openclaw-nobody', never)).toBeUndefined();
  kube.inject({ times: 2, fault: answer({ status: 404, body: 'default backend - 404' }) });
  expect(await refusal(cluster.getPod('openclaw-nobody', never))).toMatchObject({ status: 404 });
  const pod = {
    kind: 'Pod' as const,
    name: 'x',
    uid: 'y',
    userId: undefined,
    startId: undefined,
    createdAtMs: 0,
    deleting: false,
  };
  expect(await refusal(cluster.remove(pod, never))).toMatchObject({ status: 404 });
});

test('creating what is there already is an answer', async () => {
  await fill(['a']);
  expect(await cluster.createPod(podOf(toMake('a'), SPEC), never)).toBe('exists');
  await cluster.createService(serviceOf(toMake('a')), never);
  expect(await cluster.createService(serviceOf(toMake('a')), never)).toBe('exists');
});

test('deletes the object that was seen, and no other of its name', async () => {
  await fill(['a']);
  const seen = await cluster.getPod('openclaw-a', never);
  if (seen === undefined) throw new Error('expected a Pod');
  kube.state.vanish('pods', 'agents', 'openclaw-a');
  expect(await cluster.remove(seen, never)).toBe('gone');
  await fill(['a']);
  expect(await cluster.remove(seen, never)).toBe('replaced');
  const second = await cluster.getPod('openclaw-a', never);
  if (second === undefined) throw new Error('expected a Pod');
  expect(await cluster.remove(second, never)).toBe('deleting');
  expect(kube.state.objects('pods')).toEqual([]);
});

test.each<[string, KubernetesFault, object]>([
  ['throttled', answer(tooManyRequests(7)), { code: 'RUNTIMES_API_THROTTLED', retryAfterMs: 7_000 }],
  [
    'throttled until a date',
    answer({
      ...tooManyRequests(1),
      headers: { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() },
    }),
    { code: 'RUNTIMES_API_THROTTLED', retryAfterMs: expect.closeTo(3_600_000, -5) },
  ],
  ['throttled without a word', answer({ status: 429, body: '' }), { retryAfterMs: 1_000 }],
  [
    'overloaded',
    answer(failure(503, 'ServiceUnavailable', 'etcd')),
    { code: 'RUNTIMES_API_AWAY', status: 503 },
  ],
  ['a proxy without a server', answer({ status: 502, body: '<html>' }), { code: 'RUNTIMES_API_AWAY' }],
  ['not logged in', answer(failure(401, 'Unauthorized', 'Unauthorized')), { code: 'RUNTIMES_API_DENIED' }],
  ['forbidden', answer(failure(403, 'Forbidden', 'no')), { code: 'RUNTIMES_API_DENIED' }],
  ['a quota', answer(failure(403, 'Forbidden', 'exceeded quota: x')), { code: 'RUNTIMES_API_REFUSED' }],
  ['invalid', answer(failure(422, 'Invalid', 'no')), { code: 'RUNTIMES_API_REFUSED', status: 422 }],
  ['a broken connection', { kind: 'reset' }, { code: 'RUNTIMES_API_AWAY', status: undefined }],
  ['a lost answer', { kind: 'lost-answer' }, { code: 'RUNTIMES_API_AWAY', status: undefined }],
  ['silence', { kind: 'silence' }, { code: 'RUNTIMES_API_AWAY', status: undefined }],
])('%s', async (_name, fault, expected) => {
  kube.inject({ times: 5, fault });
  const found = await refusal(cluster.list(never));
  expect(found).toMatchObject(expected);
  expect(found.message).toMatch(/^list pods: /);
  expect(found.hint).not.toBe('');
});

test('an answer that begins and does not end is given up as well', async () => {
  // A client that leaves the deadline to the headers would wait for the body for ever.
  kube.inject({ fault: { kind: 'slow', ms: 60_000 } });
  expect(await refusal(cluster.list(never))).toMatchObject({ code: 'RUNTIMES_API_AWAY' });
});

test('a caller that gives up is told its own reason', async () => {
  kube.inject({ fault: { kind: 'silence' } });
  const reason = new Error('the lease is lost');
  const controller = new AbortController();
  const listing = cluster.list(controller.signal);
  controller.abort(reason);
  await expect(listing).rejects.toBe(reason);
});

test('what our Role does not grant is refused, and we ask for none of it', async () => {
  await fill(['a']);
  const verbs = new Set(
    kube.requests.map(({ method, search }) => `${method}${search.has('watch') ? ' watch' : ''}`),
  );
  expect([...verbs].toSorted()).toEqual(['DELETE', 'GET', 'POST']);
  kube.grant('pods', ['get', 'list']);
  const found = await refusal(cluster.createPod(podOf(toMake('b'), SPEC), never));
  expect(found).toMatchObject({ code: 'RUNTIMES_API_DENIED' });
  expect(found.message).toContain('cannot create resource "pods" in API group "" in the namespace "agents"');
  kube.grant('pods', ['get', 'list', 'create', 'delete']);
});

test('how to reach the API server is said wrong: the message says what was expected', async () => {
  const open = (kubeconfig: string | undefined, namespace?: string): Promise<Cluster> =>
    openKubernetes({ kubeconfig, namespace });
  await expect(open('/nowhere/kubeconfig')).rejects.toThrow(
    'expected /nowhere/kubeconfig to be a kubeconfig: ENOENT',
  );
  await expect(open(undefined)).rejects.toThrow(
    'expected /var/run/secrets/kubernetes.io/serviceaccount/token',
  );
  const path = `${kube.kubeconfig}.broken`;
  const config = {
    clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:1' } }],
    users: [],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  await writeFile(path, JSON.stringify(config));
  await expect(open(path)).rejects.toThrow(
    'expected the API server to be reached by https, got http://127.0.0.1:1',
  );
  config.clusters = [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }];
  await writeFile(path, JSON.stringify(config));
  await expect(open(path)).rejects.toThrow('expected a namespace for runtimes');
  await expect(open(path, 'agents')).resolves.toMatchObject({ namespace: 'agents' });
});

function answer(of: KubernetesAnswer): KubernetesFault {
  return { kind: 'answer', answer: of };
}

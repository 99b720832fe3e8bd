// Whether the stand-in is honest: kubectl, which was not made for it, works with it, where it is installed.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { podOf, serviceOf } from '../src/manifests.ts';
import { startKubernetesStandIn } from '@pulsebox/test-support';
import type { KubernetesStandIn } from '@pulsebox/test-support';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SPEC } from './runtimes-world.ts';

/** A busy machine takes its time. */
const KUBECTL = (process.env['PATH'] ?? '')
  .split(':')
  .map((folder) => `${folder}/kubectl`)
  .find(existsSync);

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

describe.skipIf(KUBECTL === undefined)('kubectl', () => {
  let kube: KubernetesStandIn;

  beforeAll(async () => {
    kube = await startKubernetesStandIn();
  });
  afterAll(async () => {
    await kube.close();
  });

  async function kubectl(...args: readonly string[]): Promise<Ran> {
    const all = ['--kubeconfig', kube.kubeconfig, '--cache-dir', `${kube.kubeconfig}.cache`, ...args];
    try {
      return { ...(await promisify(execFile)(KUBECTL ?? '', all)), code: 0 };
    } catch (error) {
      return error as Ran;
    }
  }

  async function written(object: object): Promise<string> {
    const path = `${kube.kubeconfig}.${randomUUID()}`;
    await writeFile(path, JSON.stringify(object));
    return path;
  }

  function create(user: string): void {
    kube.state.create('pods', 'agents', podOf({ userId: user, startId: 'one', settings: {} }, SPEC));
  }

  test('lists by label, page by page', async () => {
    for (const user of ['a', 'b', 'c', 'd', 'e']) create(user);
    kube.state.create('pods', 'agents', {
      metadata: { name: 'other' },
      spec: { containers: [{ image: 'x' }] },
    });
    const { stdout } = await kubectl('get', 'pods', '-l', 'app=openclaw', '--chunk-size=2', '-o', 'name');
    expect(stdout.trim().split('\n')).toEqual(
      ['a', 'b', 'c', 'd', 'e'].map((user) => `pod/openclaw-${user}`),
    );
    expect(kube.requests.filter(({ search }) => search.has('continue'))).toHaveLength(2);
    const set = await kubectl('get', 'pods', '-l', 'copilot.user_id in (a, b),app', '-o', 'name');
    expect(set.stdout.trim().split('\n')).toHaveLength(2);
    const not = await kubectl('get', 'pods', '-l', '!app', '-o', 'name');
    expect(not.stdout.trim()).toBe('pod/other');
  });

  test('shows one, and says of an absent one that it is', async () => {
    create('shown');
    const { stdout } = await kubectl('get', 'pod', 'openclaw-shown', '-o', 'jsonpath={.status.phase}');
    expect(stdout).toBe('Running');
    const absent = await kubectl('get', 'pod', 'openclaw-absent');
    expect(absent.stderr).toContain('Error from server (NotFound): pods "openclaw-absent" not found');
  });

  test('creates, is told of what exists, and deletes with grace', async () => {
    const manifest = await written(serviceOf({ userId: 'made', startId: 'one', settings: {} }));
    const creation = ['create', '-f', manifest, '--validate=false'];
    expect((await kubectl(...creation)).stdout).toContain('service/openclaw-made created');
    expect((await kubectl(...creation)).stderr).toContain('(AlreadyExists)');
    expect((await kubectl(...creation)).stderr).toContain('services "openclaw-made" already exists');
    const nameless = await written({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'No!' }, spec: {} });
    const refused = await kubectl('create', '-f', nameless, '--validate=false');
    expect(refused.stderr).toContain('The Pod "No!" is invalid: metadata.name: Invalid value');
    create('deleted');
    kube.state.behaviour.terminationMs = 3_600_000;
    const { stdout } = await kubectl('delete', 'pod', 'openclaw-deleted', '--wait=false');
    expect(stdout).toContain('pod "openclaw-deleted" deleted');
    const going = await kubectl(
      'get',
      'pod',
      'openclaw-deleted',
      '-o',
      'jsonpath={.metadata.deletionTimestamp} {.metadata.deletionGracePeriodSeconds}',
    );
    expect(going.stdout).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ 30$/);
    await kubectl('delete', 'pod', 'openclaw-deleted', '--grace-period=0', '--force', '--wait=false');
    expect((await kubectl('get', 'pod', 'openclaw-deleted')).code).toBe(1);
    kube.state.behaviour.terminationMs = 0;
  });

  test.each([
    ['get', 'yes'],
    ['list', 'yes'],
    ['create', 'yes'],
    ['delete', 'yes'],
    ['watch', 'no'],
    ['patch', 'no'],
    ['update', 'no'],
    ['deletecollection', 'no'],
  ])('may %s pods: %s', async (verb, answer) => {
    // `auth can-i` itself speaks protocol buffers.
    const review = await written({
      kind: 'SelfSubjectAccessReview',
      apiVersion: 'authorization.k8s.io/v1',
      spec: { resourceAttributes: { namespace: 'agents', verb, resource: 'pods' } },
    });
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const { stdout } = await kubectl('create', '--raw', path, '-f', review);
    expect(JSON.parse(stdout)).toMatchObject({ status: { allowed: answer === 'yes' } });
  });

  test('is refused what the Role does not grant, in the words of the API server', async () => {
    create('kept');
    const { stderr } = await kubectl('label', 'pod', 'openclaw-kept', 'colour=red');
    expect(stderr).toContain('Error from server (Forbidden): pods "openclaw-kept" is forbidden: User');
    expect(stderr).toContain('cannot patch resource "pods" in API group "" in the namespace "agents"');
    const elsewhere = await kubectl('get', 'pods', '-n', 'kube-system');
    expect(elsewhere.stderr).toContain(
      'cannot list resource "pods" in API group "" in the namespace "kube-system"',
    );
  });
});

// Crashes, lost answers, outages, orphans, two reapers: what must not happen, and what mends it.

import { planRound, reap } from '@pulsebox/runtimes';
import { podOf, serviceOf } from '../src/manifests.ts';
import { runtimeName } from '../src/runtime-name.ts';
import type { Cluster } from '@pulsebox/runtimes';
import { createLogger } from '@pulsebox/loop';
import { eventually, failure, freePort, tooManyRequests } from '@pulsebox/test-support';
import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { CAP, RULES, runtimesWorld, SPEC } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** A busy machine takes its time. */
const OLD = { orphanAgeMs: 0 };

let world: RuntimesWorld;

beforeAll(async () => {
  world = await runtimesWorld(inject('serverUrl'));
});
afterAll(async () => {
  await world.close();
});
beforeEach(async () => {
  await world.reset();
});

async function up(user: string, org = 'acme'): Promise<void> {
  await world.wish('start', user, org);
  await world.round();
  await world.round();
  expect(await world.runtime(user)).toMatchObject({ state: 'running' });
}

/** An object of a runtime that the database may or may not know. */
function put(user: string, startId = 'unknown'): void {
  const toMake = { userId: user, startId, settings: {} };
  world.kube.state.create('pods', 'agents', podOf(toMake, SPEC));
  world.kube.state.create('services', 'agents', serviceOf(toMake));
}

const creations = (): number =>
  world.kube.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/pods')).length;

/** Gives a creation up long before the API server has carried it out. */
async function impatientToCreate(): Promise<Cluster> {
  const { createPod } = await world.open({ timeoutMs: 1_500 });
  return { ...world.cluster, namespace: 'agents', fault: undefined, createPod };
}

test('a create whose answer was lost is found to have been done, and is not done again', async () => {
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'lost-answer' } });
  await world.wish('start', 'ada');
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  const { uid } = world.pod('ada')?.metadata ?? {};
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running', podUid: uid });
  expect(creations()).toBe(1);
});

test('a create that was never done is done again', async () => {
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'reset' } });
  await world.wish('start', 'ada');
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  expect(world.pod('ada')).toBeUndefined();
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
  expect(world.kube.state.objects('pods')).toHaveLength(1);
});

test('a Pod that is created after its start was stopped does not leak, and its place is not given away before', async () => {
  const impatient = await impatientToCreate();
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'slow', ms: 4_000 } });
  await world.wish('start', 'ada');
  await expect(world.round({ cluster: impatient })).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  await world.wish('stop', 'ada');
  await world.wish('start', 'bob');
  // Nothing is listed, and yet it may come: the only place is not bob's.
  const cap = { perOrganisation: 1 };
  await world.round({ cap });
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping', placed: true });
  expect(await world.runtime('bob')).toMatchObject({ state: 'starting', placed: false });
  await expect.poll(() => world.pod('ada'), { timeout: 120_000 }).toBeDefined();
  for (let rounds = 0; rounds < 4; rounds += 1) await world.round({ cap });
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped', placed: false });
  expect(await world.runtime('bob')).toMatchObject({ state: 'running' });
  expect(world.kube.state.objects('pods').map(({ metadata }) => metadata.name)).toEqual(['openclaw-bob']);
});

test('a place that is kept for a Pod that never comes is free in the end', async () => {
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'reset' } });
  await world.wish('start', 'ada');
  await expect(world.round()).rejects.toThrow('no answer');
  await world.wish('stop', 'ada');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping' });
  await world.age('ada', 91_000);
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped', placed: false });
});

test('a runtime is not taken for gone while its Service is there, however old the list is', async () => {
  await up('ada');
  await world.wish('stop', 'ada');
  const behind: Cluster = {
    ...world.cluster,
    namespace: 'agents',
    fault: undefined,
    list: async () => ({ pods: [], services: [] }),
    getPod: async () => undefined,
  };
  await world.round({ cluster: behind });
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping' });
  for (let rounds = 0; rounds < 3; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
  expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
});

test('a request that was refused says nothing of one before it whose answer was lost', async () => {
  const impatient = await impatientToCreate();
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'slow', ms: 4_000 } });
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'answer', answer: tooManyRequests(1) } });
  await world.wish('start', 'ada');
  await expect(world.round({ cluster: impatient })).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_THROTTLED' });
  await world.wish('stop', 'ada');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping', placed: true });
  await expect.poll(() => world.pod('ada'), { timeout: 120_000 }).toBeDefined();
  for (let rounds = 0; rounds < 3; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
  expect(world.pod('ada')).toBeUndefined();
});

test('without a connection nothing was sent, and no place is kept for it', async () => {
  const { kube } = world;
  await world.wish('start', 'ada');
  const elsewhere = `${kube.kubeconfig}.refused`;
  const config = JSON.parse(await readFile(kube.kubeconfig, 'utf8')) as {
    clusters: { cluster: { server: string } }[];
  };
  for (const { cluster } of config.clusters) cluster.server = `https://127.0.0.1:${await freePort()}`;
  await writeFile(elsewhere, JSON.stringify(config));
  const refused = await world.open({ kubeconfig: elsewhere });
  const half: Cluster = {
    ...refused,
    namespace: 'agents',
    fault: undefined,
    list: (signal) => world.cluster.list(signal),
  };
  await expect(world.round({ cluster: half })).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  await world.wish('stop', 'ada');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped', placed: false });
});

test('a Pod of an earlier start goes before that of this start comes', async () => {
  put('ada', 'another start');
  const earlier = world.pod('ada')?.metadata.uid;
  await world.wish('start', 'ada');
  for (let rounds = 0; rounds < 5; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'running',
    podUid: world.pod('ada')?.metadata.uid,
  });
  expect(world.pod('ada')?.metadata.uid).not.toBe(earlier);
  expect(world.service('ada')?.metadata.annotations?.['project.senticor.ai/start-id']).toBe(
    world.pod('ada')?.metadata.annotations?.['project.senticor.ai/start-id'],
  );
});

test('orphans go once they are old enough, and nothing else does', async () => {
  await up('ada');
  put('ghost');
  await world.wish('start', 'bob');
  await world.wish('stop', 'bob');
  put('bob');
  await world.round();
  expect(world.inCluster()).toEqual({ pods: 3, services: 3 });
  world.kube.state.age('pods', 'agents', runtimeName('ghost'), 121_000);
  await world.round();
  expect(world.pod('ghost')).toBeUndefined();
  expect(world.service('ghost')).toBeDefined();
  await world.round({ rules: OLD });
  expect(world.kube.state.objects('pods').map(({ metadata }) => metadata.name)).toEqual(['openclaw-ada']);
  expect(world.inCluster()).toEqual({ pods: 1, services: 1 });
  const lines = world.logged.filter((line) => line.includes('delete-orphan'));
  expect(lines).toHaveLength(4);
  expect(lines.join('')).toContain('the database knows no runtime of this name');
  expect(lines.join('')).toContain('the runtime of bob is stopped');
});

test('an orphan that was replaced after it was seen is left alone', async () => {
  put('ghost');
  const seen = world.pod('ghost')?.metadata.uid;
  world.kube.onRequest(({ method, path }) => {
    if (method !== 'GET' || !path.endsWith('/services') || world.pod('ghost')?.metadata.uid !== seen) return;
    world.kube.state.vanish('pods', 'agents', runtimeName('ghost'));
    world.kube.state.create('pods', 'agents', podOf({ userId: 'ghost', startId: 'x', settings: {} }, SPEC));
  });
  await world.round({ rules: OLD });
  expect(world.pod('ghost')).toBeDefined();
  expect(world.pod('ghost')?.metadata.uid).not.toBe(seen);
});

/** Another process does two whole rounds around this one's look at the cluster. */
function meanwhile(when: 'before' | 'after'): Cluster {
  return {
    ...world.cluster,
    namespace: 'agents',
    fault: undefined,
    async list(signal) {
      const view = when === 'after' ? await world.cluster.list(signal) : undefined;
      await world.round();
      await world.round();
      expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
      return view ?? (await world.cluster.list(signal));
    },
  };
}

test.each(['before', 'after'] as const)(
  'a Pod that is started right %s the cluster is listed is neither orphan nor gone',
  async (when) => {
    await world.wish('start', 'ada');
    await world.round({ cluster: meanwhile(when), rules: OLD });
    expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
    expect(world.inCluster()).toEqual({ pods: 1, services: 1 });
  },
);

test('what was decided on an older state of a runtime is not carried out', async () => {
  world.kube.state.behave('pending');
  await world.wish('start', 'ada');
  await world.round();
  await world.age('ada', 301_000);
  // Before it comes to ada, whose start has taken too long, the round is held up by the Pod of another.
  await world.wish('start', 'zed');
  await world.age('zed', 86_400_000);
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'slow', ms: 3_000 } });
  const seen = world.kube.requests.length;
  const round = world.round();
  await eventually(() => world.kube.requests.slice(seen).some(({ method }) => method === 'POST'));
  world.kube.state.behave('ready');
  await world.db.pool.query(
    `update app.agent_runtimes set state = 'running', url = 'http://ada', running_at = now() where user_id = 'ada'`,
  );
  await round;
  expect(await world.runtime('ada')).toMatchObject({
    state: 'running',
    reason: expect.not.stringContaining('within'),
  });
});

test('two reapers at once, against starts and stops, leave what is wished and nothing else', async () => {
  const users = Array.from({ length: 8 }, (_, at) => `user-${at}`);
  world.kube.state.behaviour.terminationMs = 20;
  const other = await world.open();
  const both = async (): Promise<void> => {
    await Promise.allSettled([world.round({ rules: OLD }), world.round({ cluster: other, rules: OLD })]);
  };
  for (let turn = 0; turn < 6; turn += 1) {
    const wishes = users.map((user, at) => world.wish((at + turn) % 2 === 0 ? 'start' : 'stop', user));
    await Promise.all([both(), ...wishes]);
    await both();
  }
  // User 0 was wished to stop last, user 1 to start, and so on.
  await expect
    .poll(
      async () => {
        await both();
        return world.kube.state
          .objects('pods')
          .filter(({ metadata }) => metadata.deletionTimestamp === undefined).length;
      },
      { timeout: 120_000 },
    )
    .toBe(4);
  for (let rounds = 0; rounds < 4; rounds += 1) await both();
  for (const [at, user] of users.entries()) {
    expect(await world.runtime(user)).toMatchObject({ state: at % 2 === 1 ? 'running' : 'stopped' });
  }
  expect(world.inCluster()).toEqual({ pods: 4, services: 4 });
});

test('an API server that goes away in mid-delete is gone on with where it was left', async () => {
  for (const user of ['ada', 'bob', 'cleo']) await up(user);
  for (const user of ['ada', 'bob', 'cleo']) await world.wish('stop', user);
  let deletions = 0;
  world.kube.onRequest(({ method }) => {
    if (method === 'DELETE' && ++deletions === 3) world.kube.outage();
  });
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_AWAY' });
  for (const user of ['ada', 'bob', 'cleo'])
    expect(await world.runtime(user)).toMatchObject({ state: 'stopping' });
  world.kube.heal();
  for (let rounds = 0; rounds < 3; rounds += 1) await world.round();
  for (const user of ['ada', 'bob', 'cleo'])
    expect(await world.runtime(user)).toMatchObject({ state: 'stopped' });
  expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
});

test('starts that wait for an API server that stays away end with the reason', async () => {
  await world.wish('start', 'ada');
  world.kube.outage();
  await expect(world.round()).rejects.toThrow('no answer');
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting' });
  await world.age('ada', 301_000);
  await expect(world.round()).rejects.toThrow('no answer');
  expect(await world.runtime('ada')).toMatchObject({
    state: 'error',
    placed: false,
    reason: expect.stringContaining('not ready within 300 s: list pods: no answer from the API server'),
  });
});

test('an API server that asks to be left alone ends the round, and says for how long', async () => {
  await world.wish('start', 'ada');
  world.kube.inject({ method: 'POST', fault: { kind: 'answer', answer: tooManyRequests(9) } });
  await expect(world.round()).rejects.toMatchObject({ code: 'RUNTIMES_API_THROTTLED', retryAfterMs: 9_000 });
  expect(creations()).toBe(1);
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
});

test('what a Role does not grant keeps nothing of the rest', async () => {
  await up('bob');
  put('ghost');
  await world.wish('stop', 'bob');
  await world.wish('start', 'ada');
  world.kube.grant('pods', ['get', 'list', 'delete']);
  await expect(world.round({ rules: OLD })).rejects.toMatchObject({ code: 'RUNTIMES_API_DENIED' });
  await expect(world.round({ rules: OLD })).rejects.toMatchObject({ code: 'RUNTIMES_API_DENIED' });
  expect(await world.runtime('bob')).toMatchObject({ state: 'stopped' });
  expect(world.pod('ghost')).toBeUndefined();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'starting',
    reason: expect.stringContaining('cannot create resource "pods"'),
  });
});

test('an object that cannot be deleted stays in its state, and is tried again', async () => {
  await up('ada');
  await world.wish('stop', 'ada');
  world.kube.inject({
    method: 'DELETE',
    fault: { kind: 'answer', answer: failure(500, 'InternalError', 'etcdserver: request timed out') },
  });
  await expect(world.round()).rejects.toMatchObject({ status: 500 });
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping' });
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
});

test('a dry run says what would be done, and does nothing', async () => {
  await up('ada');
  await world.age('ada', 1_801_000);
  put('ghost');
  await world.wish('start', 'bob');
  const before = world.kube.requests.length;
  const plan = await planRound({
    db: world.db.pool,
    cluster: world.cluster,
    rules: RULES,
    signal: new AbortController().signal,
  });
  const steps = plan.map(({ name, act }) => `${name} ${act}`);
  expect(steps).toEqual([
    'openclaw-ada stop-idle',
    'openclaw-bob wait',
    'openclaw-ghost wait',
    'openclaw-ghost wait',
  ]);
  expect(plan[2]?.reason).toContain('still too young to be an orphan');
  expect(world.kube.requests.slice(before).map(({ method }) => method)).toEqual(['GET', 'GET']);
  expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
});

test('a person does not reap beside the worker that does', async () => {
  const options = {
    pool: world.db.pool,
    cluster: world.cluster,
    spec: SPEC,
    cap: CAP,
    rules: RULES,
    signal: new AbortController().signal,
    progress: () => undefined,
    log: createLogger({ worker: 'test', level: 'silent' }),
    metrics: undefined,
  };
  await world.wish('start', 'ada');
  expect(await reap({ ...options, holder: 'person' })).toEqual({ acted: 1 });
  await world.db.pool.query(
    `update pulsebox.lease set holder = 'worker/1', expires_at = now() + interval '1 hour' where name = 'runtimes/keeper'`,
  );
  await expect(reap({ ...options, holder: 'person' })).rejects.toMatchObject({
    code: 'RUNTIMES_KEPT_ELSEWHERE',
    message: expect.stringContaining('worker/1 keeps the runtimes'),
  });
});

test('a round whose signal is aborted asks for nothing more', async () => {
  await world.wish('start', 'ada');
  const controller = new AbortController();
  controller.abort(new Error('the lease is lost'));
  await expect(world.round({ signal: controller.signal })).rejects.toThrow('the lease is lost');
  expect(world.kube.state.objects('pods')).toEqual([]);
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting', placed: false });
});

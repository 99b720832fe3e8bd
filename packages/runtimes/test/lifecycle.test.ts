// What becomes of a wish: from the event to the Pod and back.

import { runtimeName } from '../src/runtime-name.ts';
import { eventually, failure } from '@pulsebox/test-support';
import type { PodBehaviour } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { runtimesWorld } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** A busy machine takes its time. */
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

/** Brings it up. */
async function up(user: string, org = 'acme'): Promise<void> {
  await world.wish('start', user, org);
  await world.round();
  await world.round();
  expect(await world.runtime(user)).toMatchObject({ state: 'running' });
}

test('starts one Pod and one Service for a user, and says where it answers once it is ready', async () => {
  world.kube.state.behave('pending');
  await world.wish('start', 'ada');
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting', placed: false });
  await world.round();
  expect(world.inCluster()).toEqual({ pods: 1, services: 1 });
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting', placed: true, url: null });
  world.kube.state.behave('ready');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'running',
    url: 'http://openclaw-ada.agents.svc.cluster.local:18789',
    podUid: world.pod('ada')?.metadata.uid,
  });
});

test('a second start, and rounds that find all well, change nothing', async () => {
  await up('ada');
  const { uid } = world.pod('ada')?.metadata ?? {};
  await world.wish('start', 'ada');
  await world.round();
  await world.round();
  expect(world.pod('ada')?.metadata.uid).toBe(uid);
  expect(world.kube.state.created).toBeGreaterThan(0);
  expect(world.kube.requests.filter(({ method }) => method === 'DELETE')).toEqual([]);
});

test('a stop is stopped only when Pod and Service are really gone', async () => {
  await up('ada');
  world.kube.state.behaviour.terminationMs = 3_600_000;
  await world.wish('stop', 'ada');
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping', url: null });
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping', placed: true });
  expect(world.pod('ada')?.metadata.deletionTimestamp).toBeDefined();
  // Deleted once: what is on its way out is left to go.
  expect(
    world.kube.requests.filter(({ method, path }) => method === 'DELETE' && path.includes('/pods/')),
  ).toHaveLength(1);
  world.kube.state.behaviour.terminationMs = 0;
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped', placed: false });
  expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
});

test('a finalizer keeps it stopping for as long as it keeps the Pod', async () => {
  await up('ada');
  const pod = world.pod('ada');
  world.kube.state.vanish('pods', 'agents', runtimeName('ada'));
  world.kube.state.create('pods', 'agents', {
    ...pod,
    metadata: { ...pod?.metadata, finalizers: ['example.com/hold'] },
  });
  await world.wish('stop', 'ada');
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping' });
  world.kube.state.release('pods', 'agents', runtimeName('ada'));
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
});

test('a start while it is being stopped waits until it is gone, and then is a start of its own', async () => {
  await up('ada');
  const before = world.pod('ada')?.metadata.uid;
  world.kube.state.behaviour.terminationMs = 3_600_000;
  await world.wish('stop', 'ada');
  await world.round();
  await world.wish('start', 'ada');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopping', startAgain: true });
  world.kube.state.behaviour.terminationMs = 0;
  for (let rounds = 0; rounds < 3; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running', startAgain: false });
  expect(world.pod('ada')?.metadata.uid).not.toBe(before);
});

test('a stop that comes before the start was carried out leaves nothing behind', async () => {
  await world.wish('start', 'ada');
  await world.wish('stop', 'ada');
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
  expect(world.kube.state.objects('pods')).toEqual([]);
});

test('settings that change end what runs with the old ones, and the next start has the new ones', async () => {
  const set = async (model: string): Promise<void> => {
    await world.db.pool.query(
      `insert into app.user_agent_settings (user_id, org_id, settings) values ('ada', 'acme', $1)
       on conflict (user_id) do update set settings = excluded.settings`,
      [{ model }],
    );
  };
  const settingsOf = (): unknown => {
    const [container] = (world.pod('ada')?.spec['containers'] ?? []) as {
      env: { name: string; value: string }[];
    }[];
    return JSON.parse(container?.env.find(({ name }) => name === 'OPENCLAW_SETTINGS')?.value ?? 'null');
  };
  await set('small');
  await up('ada');
  expect(settingsOf()).toEqual({ model: 'small' });
  await set('large');
  await world.wish('settings', 'ada');
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'stopped',
    reason: 'stopped: the settings of the agent have changed',
  });
  await up('ada');
  expect(settingsOf()).toEqual({ model: 'large' });
});

test('settings that change during a start have it made anew', async () => {
  world.kube.state.behave('pending');
  await world.wish('start', 'ada');
  await world.round();
  const before = world.pod('ada')?.metadata.uid;
  await world.wish('settings', 'ada');
  world.kube.state.behave('ready');
  for (let rounds = 0; rounds < 4; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
  expect(world.pod('ada')?.metadata.uid).not.toBe(before);
});

test('an event that comes again changes nothing', async () => {
  const start = { position: 1_000_001, key: 'runtime:ada', payload: { user_id: 'ada', org_id: 'acme' } };
  await world.deliver([start]);
  await world.round();
  await world.round();
  const stop = { ...start, position: 1_000_002, topic: 'runtime.stop_requested' };
  await world.deliver([stop]);
  await world.round();
  await world.round();
  await world.deliver([start]);
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
  await world.deliver([{ ...start, position: 1_000_003 }]);
  await world.deliver([stop, start]);
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting' });
});

test('an event that makes no sense is reported with what was expected, and keeps nothing of the others', async () => {
  const good = { payload: { user_id: 'ada', org_id: 'acme' } };
  const { failed } = await world.deliver([
    { position: 2_000_001, payload: 'ada' },
    { position: 2_000_002, payload: { user_id: '' } },
    { position: 2_000_003, payload: { user_id: 'bob' } },
    { position: 2_000_004, payload: { user_id: 'bob', org_id: 7 } },
    { position: 2_000_005, topic: 'item.upserted', payload: null },
    { ...good, position: 2_000_006 },
  ]);
  expect(failed).toEqual([
    {
      position: 2_000_001,
      retryable: false,
      reason: expect.stringContaining('an object with user_id, got a string'),
    },
    {
      position: 2_000_002,
      retryable: false,
      reason: expect.stringContaining('user_id to be a string, got ""'),
    },
    {
      position: 2_000_004,
      retryable: false,
      reason: expect.stringContaining('org_id to be a string, got 7'),
    },
    {
      position: 2_000_003,
      retryable: false,
      reason: expect.stringContaining('expected org_id, or settings of "bob"'),
    },
  ]);
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting' });
});

test.each<[PodBehaviour, string]>([
  ['unschedulable', 'Unschedulable: 0/3 nodes are available: 3 Insufficient memory'],
  ['image-pull', 'ImagePullBackOff: Back-off pulling image'],
  [
    'crash-loop',
    'CrashLoopBackOff: back-off 40s restarting failed container=openclaw; ended before: OOMKilled, exit code 137; restarted 3 times',
  ],
  ['pending', 'the container is not ready yet'],
])(
  'a start that never comes up (%s) is an error that says why, and its place is free',
  async (behaviour, why) => {
    world.kube.state.behave(behaviour);
    await world.wish('start', 'ada');
    await world.round();
    await world.round();
    expect((await world.runtime('ada')).reason).toContain(why);
    await world.age('ada', 301_000);
    await world.round();
    const failed = await world.runtime('ada');
    expect(failed).toMatchObject({ state: 'error' });
    expect(failed.reason).toContain('not ready within 300 s');
    expect(failed.reason).toContain(why);
    await world.round();
    await world.round();
    expect(await world.runtime('ada')).toMatchObject({
      state: 'error',
      placed: false,
      reason: failed.reason,
    });
    expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
  },
);

test('a Pod that ends before it is ready is an error at once', async () => {
  world.kube.state.behave('evicted');
  await world.wish('start', 'ada');
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'error',
    reason: 'its Pod ended before it was ready: Evicted: The node was low on resource: memory. ',
  });
});

test('an error ends with the next start, and with a stop', async () => {
  world.kube.state.behave('evicted');
  await world.wish('start', 'ada');
  for (let rounds = 0; rounds < 4; rounds += 1) await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'error', placed: false });
  await world.wish('stop', 'ada');
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped' });
  world.kube.state.behave('ready');
  await up('ada');
});

test('what is not used for long is stopped; a sign of use at the last moment saves it', async () => {
  await up('ada');
  await up('bob');
  await world.age('ada', 1_801_000);
  await world.age('bob', 1_801_000);
  await world.db.pool.query(
    `update app.agent_runtimes set last_active_at = clock_timestamp() where user_id = 'bob'`,
  );
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'stopping',
    reason: expect.stringMatching(/^not used for 180\d s$/),
  });
  expect(await world.runtime('bob')).toMatchObject({ state: 'running' });
  await world.round();
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'stopped',
    reason: expect.stringMatching(/^stopped: not used for 180\d s$/),
  });
});

test('a runtime that is used between the decision and its effect is not stopped', async () => {
  await up('bob');
  await world.wish('start', 'ada');
  await world.age('ada', 60_000);
  await world.age('bob', 1_801_000);
  // The round decides about both, and is held up by ada's Pod before it comes to bob.
  await world.db.pool.query(
    `update app.agent_runtimes set requested_at = now() - interval '2 hours' where user_id = 'bob'`,
  );
  await world.db.pool.query(
    `update app.agent_runtimes set requested_at = now() - interval '3 hours' where user_id = 'ada'`,
  );
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'slow', ms: 1_500 } });
  const seen = world.kube.requests.length;
  const round = world.round({ rules: { startTimeoutMs: 86_400_000 } });
  await eventually(() => world.kube.requests.slice(seen).some(({ method }) => method === 'POST'));
  await world.db.pool.query(
    `update app.agent_runtimes set last_active_at = clock_timestamp() where user_id = 'bob'`,
  );
  await round;
  expect(await world.runtime('bob')).toMatchObject({ state: 'running' });
});

test.each<[string, PodBehaviour | 'vanish' | 'delete', string]>([
  ['evicted', 'evicted', 'its Pod has ended: Evicted'],
  ['completed', 'completed', 'its Pod has ended: Completed'],
  ['killed for its memory again and again', 'crash-loop', 'it crashes again and again: CrashLoopBackOff'],
  ['lost with its node', 'vanish', 'its Pod is gone, and nobody asked for that'],
  ['deleted by somebody', 'delete', 'its Pod was deleted by somebody else'],
])('a runtime whose Pod was %s is an error, and what is left of it goes', async (_what, how, why) => {
  await up('ada');
  if (how === 'vanish') world.kube.state.vanish('pods', 'agents', runtimeName('ada'));
  else if (how === 'delete') {
    world.kube.state.behaviour.terminationMs = 3_600_000;
    world.kube.state.delete('pods', 'agents', runtimeName('ada'), {});
  } else world.kube.state.behave(how);
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'error', url: null });
  expect((await world.runtime('ada')).reason).toContain(why);
  world.kube.state.behaviour.terminationMs = 0;
  await world.round();
  await world.round();
  expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
  expect(await world.runtime('ada')).toMatchObject({ state: 'error', placed: false });
});

test('a Service that somebody deleted is made again', async () => {
  await up('ada');
  world.kube.state.vanish('services', 'agents', runtimeName('ada'));
  await world.round();
  expect(world.service('ada')).toBeDefined();
  expect(await world.runtime('ada')).toMatchObject({ state: 'running' });
});

test('a Pod that Kubernetes will never take ends the start at once; one that a quota holds back waits', async () => {
  world.kube.inject({
    method: 'POST',
    path: /pods$/,
    times: 1_000,
    fault: {
      kind: 'answer',
      answer: failure(
        403,
        'Forbidden',
        'pods "openclaw-ada" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=8, limited: pods=8',
      ),
    },
  });
  await world.wish('start', 'ada');
  await expect(world.round()).resolves.toBeDefined();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'starting',
    reason: expect.stringContaining('exceeded quota'),
  });
  world.kube.heal();
  world.kube.inject({
    method: 'POST',
    path: /pods$/,
    fault: { kind: 'answer', answer: failure(422, 'Invalid', 'Pod "openclaw-ada" is invalid: spec.image') },
  });
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({
    state: 'error',
    reason: expect.stringContaining('is invalid'),
  });
  await world.round();
  expect(await world.runtime('ada')).toMatchObject({ placed: false });
});

test('the database refuses transitions that there are not, and remembers those that there were', async () => {
  await up('ada');
  await expect(
    world.db.pool.query(
      `update app.agent_runtimes set state = 'stopped', url = null, running_at = null, placed_at = null`,
    ),
  ).rejects.toThrow('a runtime does not go from running to stopped');
  await world.wish('stop', 'ada');
  const { history } = await world.runtime('ada');
  expect(history.map(({ state }) => state)).toEqual(['starting', 'starting', 'running', 'stopping']);
  await expect(
    world.db.pool.query(
      `insert into app.agent_runtimes (user_id, org_id, name, state, reason) values ('ada', 'x', 'y', 'starting', '')`,
    ),
  ).rejects.toThrow('agent_runtimes_pkey');
});

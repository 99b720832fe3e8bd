// Agent runtimes in `worker`, as a container runs it.

import {
  createTestDatabase,
  eventually,
  freePort,
  runProgram,
  startKubernetesStandIn,
} from '@pulsebox/test-support';
import type { KubernetesStandIn, Program, TestDatabase } from '@pulsebox/test-support';
import { beforeEach, expect, inject, onTestFinished, test } from 'vitest';

/** Workers take their time to start on a busy machine. */
let db: TestDatabase;
let kube: KubernetesStandIn;

beforeEach(async () => {
  [db, kube] = await Promise.all([createTestDatabase(inject('serverUrl')), startKubernetesStandIn()]);
  onTestFinished(async () => {
    await kube.close();
    await db.drop();
  });
});

interface Worker extends Program {
  readonly url: string;
}

async function startWorker(env: Readonly<Record<string, string>> = {}): Promise<Worker> {
  const port = await freePort();
  const program = runProgram('apps/worker/src/index.ts', {
    args: ['--loop'],
    env: {
      DATABASE_URL: db.url,
      WORKER_HEALTH_PORT: String(port),
      OUTBOX_LEASE_SECONDS: '2',
      OPENCLAW_RUNTIME: 'k8s',
      OPENCLAW_IMAGE: 'registry/openclaw:1',
      OPENCLAW_K8S_KUBECONFIG: kube.kubeconfig,
      ...env,
    },
  });
  return { ...program, url: `http://127.0.0.1:${port}` };
}

async function ask(wish: 'start' | 'stop', user: string): Promise<void> {
  await db.pool.query('select outbox.emit($1, $2, $3)', [
    `runtime.${wish}_requested`,
    { user_id: user, org_id: 'acme' },
    `runtime:${user}`,
  ]);
}

async function stateOf(user: string): Promise<string | undefined> {
  const { rows } = await db.pool.query<{ state: string }>(
    'select state from app.agent_runtimes where user_id = $1',
    [user],
  );
  return rows[0]?.state;
}

async function becomes(user: string, state: string, withinMs = 120_000): Promise<void> {
  await eventually(async () => (await stateOf(user)) === state, { withinMs });
}

const podsOf = (user: string): readonly string[] =>
  kube.state
    .objects('pods')
    .filter(({ metadata }) => metadata.name === `openclaw-${user}`)
    .map(({ metadata }) => metadata.uid);

/** How many Pods were asked for since so many requests had been made. */
function creations(seen: number): number {
  return kube.requests.slice(seen).filter(({ method, path }) => method === 'POST' && path.endsWith('/pods'))
    .length;
}

test('an event makes a runtime, another ends it, and the worker tells of both', async () => {
  const worker = await startWorker();
  await ask('start', 'ada');
  await becomes('ada', 'running');
  expect(podsOf('ada')).toHaveLength(1);
  const health = (await (await fetch(`${worker.url}/health`)).json()) as { status: string; checks: object };
  expect(health.status).toBe('ok');
  expect(JSON.stringify(health.checks)).toContain('runtimes-keeper');
  await eventually(async () =>
    (await (await fetch(`${worker.url}/metrics`)).text()).includes('runtimes{state="running"} 1'),
  );
  await ask('stop', 'ada');
  await becomes('ada', 'stopped');
  expect(kube.state.objects('services')).toEqual([]);
  // A decision is logged once it is written, and all lines are out when it has ended.
  worker.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const decisions = worker.log().flatMap(({ decision }) => (typeof decision === 'string' ? [decision] : []));
  expect(decisions).toEqual(['place', 'create-pod', 'run', 'delete', 'delete', 'gone']);
});

test('a worker that is killed between the creation and the word of it leaves one Pod, and the next knows it', async () => {
  // The API server creates it, and takes its time to say so.
  kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'slow', ms: 1_000 } });
  const seen = kube.requests.length;
  const first = await startWorker();
  await ask('start', 'bob');
  await eventually(() => creations(seen) > 0);
  first.kill('SIGKILL');
  await first.exited;
  const [uid] = await eventually(() => (podsOf('bob').length > 0 ? podsOf('bob') : undefined));
  expect(await stateOf('bob')).toBe('starting');

  const second = await startWorker();
  await becomes('bob', 'running');
  expect(podsOf('bob')).toEqual([uid]);
  const { rows } = await db.pool.query(`select pod_uid from app.agent_runtimes where user_id = 'bob'`);
  expect(rows).toEqual([{ pod_uid: uid }]);
  await ask('stop', 'bob');
  await becomes('bob', 'stopped');
  second.kill('SIGTERM');
  expect((await second.exited).code).toBe(0);
});

test('workers that are killed at any moment leave nothing that is not wished', async () => {
  // A Pod that was asked for as its worker died may come for another 90 s; its user's place is kept so long.
  const withinMs = 180_000;
  const users = Array.from({ length: 6 }, (_, at) => `user-${at}`);
  kube.state.behaviour.terminationMs = 300;
  for (let turn = 0; turn < 3; turn += 1) {
    const worker = await startWorker({ OPENCLAW_K8S_ORPHAN_AGE_SECONDS: '1' });
    const seen = kube.requests.length;
    for (const [at, user] of users.entries()) await ask((at + turn) % 2 === 0 ? 'start' : 'stop', user);
    await eventually(() => kube.requests.length > seen + 2 + turn * 2);
    worker.kill('SIGKILL');
    await worker.exited;
  }
  const last = await startWorker({ OPENCLAW_K8S_ORPHAN_AGE_SECONDS: '1' });
  for (const [at, user] of users.entries()) await ask(at < 3 ? 'start' : 'stop', user);
  for (const [at, user] of users.entries()) {
    if (at < 3) await becomes(user, 'running', withinMs);
    // One that was never started has no row.
    else await eventually(async () => [undefined, 'stopped'].includes(await stateOf(user)), { withinMs });
  }
  await eventually(() => kube.state.objects('pods').length === 3, { withinMs });
  expect(
    kube.state
      .objects('services')
      .map(({ metadata }) => metadata.name)
      .toSorted(),
  ).toEqual(['openclaw-user-0', 'openclaw-user-1', 'openclaw-user-2']);
  last.kill('SIGTERM');
  expect((await last.exited).code).toBe(0);
}, 600_000);

test('off, it is said once and healthy; on without an image, it is said at the start', async () => {
  const off = await startWorker({ OPENCLAW_RUNTIME: 'off' });
  await off.says('agent runtimes are off');
  await eventually(async () => (await fetch(`${off.url}/health/ready`)).ok);
  expect(await (await fetch(`${off.url}/metrics`)).text()).not.toContain('runtimes_');
  off.kill('SIGTERM');
  expect((await off.exited).code).toBe(0);
  const wrong = await startWorker({ OPENCLAW_IMAGE: '', OPENCLAW_K8S_CPU_LIMIT: 'much' });
  expect((await wrong.exited).code).not.toBe(0);
  expect(wrong.output()).toContain('expected OPENCLAW_IMAGE to be set, since OPENCLAW_RUNTIME is k8s');
});

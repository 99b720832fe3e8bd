// pulsebox runtimes against a real database and a stand-in for the API server.

import { createTestDatabase, startKubernetesStandIn } from '@pulsebox/test-support';
import type { KubernetesStandIn, TestDatabase } from '@pulsebox/test-support';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { pulsebox } from './pulsebox.ts';

/** Each command is a process of its own. */
let db: TestDatabase;
let kube: KubernetesStandIn;
let env: Record<string, string>;

beforeAll(async () => {
  [db, kube] = await Promise.all([createTestDatabase(inject('serverUrl')), startKubernetesStandIn()]);
  env = {
    DATABASE_URL: db.url,
    OPENCLAW_RUNTIME: 'k8s',
    OPENCLAW_IMAGE: 'registry/openclaw:1',
    OPENCLAW_K8S_KUBECONFIG: kube.kubeconfig,
  };
});
afterAll(async () => {
  await kube.close();
  await db.drop();
});
beforeEach(async () => {
  kube.heal();
  await db.pool.query('truncate app.agent_runtimes');
  await db.pool.query(
    `insert into app.agent_runtimes (user_id, org_id, name, state, reason) values
       ('ada', 'acme', 'openclaw-ada', 'starting', 'a start was asked for'),
       ('bob', 'acme', 'openclaw-bob', 'stopped', E'stopped: \\x1b[31mred'),
       ('cleo', 'acme', 'openclaw-cleo', 'error', 'its Pod has ended: Evicted')`,
  );
});

test('lists runtimes that are not stopped, or those in one state', async () => {
  const { code, stdout } = await pulsebox(['runtimes', 'list'], { env });
  expect(code).toBe(0);
  expect(stdout).toMatch(/ada +acme +starting .* openclaw-ada +a start was asked for/);
  expect(stdout).toMatch(/cleo +acme +error .* its Pod has ended: Evicted/);
  expect(stdout).not.toContain('bob');
  const stopped = await pulsebox(['runtimes', 'list', '--state', 'stopped'], { env });
  expect(stopped.stdout).toContain('bob');
  expect(stopped.stdout).not.toContain('\u001b');
  const asJson = await pulsebox(['runtimes', 'list', '--state', 'error', '--json'], { env });
  expect(asJson.json()).toMatchObject([{ user: 'cleo', state: 'error', placed: false, url: null }]);
  const wrong = await pulsebox(['runtimes', 'list', '--state', 'broken'], { env });
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('starting, running, stopping') });
});

test('asks for a stop by the event that the application would emit', async () => {
  const { code, stdout } = await pulsebox(['runtimes', 'stop', 'ada'], { env: { DATABASE_URL: db.url } });
  expect(code).toBe(0);
  expect(stdout).toContain('asked for the runtime of ada to be stopped');
  const { rows } = await db.pool.query(`select topic, key, payload from outbox.event`);
  expect(rows).toEqual([
    { topic: 'runtime.stop_requested', key: 'runtime:ada', payload: { user_id: 'ada', org_id: 'acme' } },
  ]);
  const nobody = await pulsebox(['runtimes', 'stop', 'zoe'], { env });
  expect(nobody).toMatchObject({ code: 2, stderr: expect.stringContaining('got "zoe"') });
});

test('says why, without a cluster from the database alone, with one what comes next', async () => {
  const alone = await pulsebox(['runtimes', 'why', 'cleo'], { env: { DATABASE_URL: db.url } });
  expect(alone).toMatchObject({ code: 0 });
  expect(alone.stdout).toContain('cleo is error since');
  expect(alone.stdout).toContain('its Pod has ended: Evicted');
  expect(alone.stdout).not.toContain('NEXT');
  const asked = await pulsebox(['runtimes', 'why', 'ada'], { env });
  expect(asked.stdout).toContain('NEXT wait: no place is free');
  expect(asked.stdout).toContain('has no place; acme has 0 taken, 1 waiting');
  kube.outage();
  const away = await pulsebox(['runtimes', 'why', 'ada'], { env });
  expect(away).toMatchObject({ code: 0, stdout: expect.stringContaining('the cluster could not be asked') });
  const nobody = await pulsebox(['runtimes', 'why', 'zoe'], { env });
  expect(nobody.code).toBe(2);
});

test('shows what a round would do, then does it', async () => {
  const dry = await pulsebox(['runtimes', 'reap', '--dry-run', '--json'], { env });
  expect(dry.json()).toMatchObject([{ name: 'openclaw-ada', user: 'ada', act: 'wait' }]);
  expect(kube.state.objects('pods')).toEqual([]);
  const done = await pulsebox(['runtimes', 'reap'], { env });
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('something was done about 1 runtime'),
  });
  expect(done.stderr).toContain('openclaw-ada create-pod: it is to start, and has no Pod');
  expect(kube.state.objects('pods')).toHaveLength(1);
});

test('does not reap beside a worker, nor without a cluster, and says so', async () => {
  await db.pool.query(
    `insert into pulsebox.lease (name, token, holder, expires_at)
     values ('runtimes/keeper', 1, 'worker/7', now() + interval '1 hour')
     on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at`,
  );
  const busy = await pulsebox(['runtimes', 'reap'], { env });
  expect(busy).toMatchObject({ code: 1, stderr: expect.stringContaining('worker/7 keeps the runtimes') });
  const off = await pulsebox(['runtimes', 'reap', '--dry-run'], { env: { DATABASE_URL: db.url } });
  expect(off).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('expected OPENCLAW_RUNTIME to be k8s'),
  });
  kube.outage();
  const away = await pulsebox(['runtimes', 'reap', '--dry-run'], { env });
  expect(away).toMatchObject({ code: 3, stderr: expect.stringContaining('no answer from the API server') });
  const wrong = await pulsebox(['runtimes', 'reap', '--dry-run'], {
    env: { ...env, OPENCLAW_K8S_MEMORY_LIMIT: '1 GB' },
  });
  expect(wrong).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('expected OPENCLAW_K8S_MEMORY_LIMIT'),
  });
});

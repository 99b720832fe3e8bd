// The database away, silent, or with its answers lost, under a reconciler that is at work.

import { createLogger } from '@pulsebox/loop';
import { createPool } from '@pulsebox/postgres';
import { keeper } from '@pulsebox/runtimes';
import { runRound } from '../src/round.ts';
import { tcpProxy } from '@pulsebox/test-support';
import type { TcpProxy } from '@pulsebox/test-support';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { CAP, RULES, runtimesWorld, SPEC } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** A busy machine takes its time. */
const quiet = createLogger({ worker: 'test', level: 'silent' });
const never = new AbortController().signal;

let world: RuntimesWorld;
let proxy: TcpProxy;
let pool: Pool;

beforeAll(async () => {
  world = await runtimesWorld(inject('serverUrl'));
  proxy = await tcpProxy(world.db.url);
  pool = createPool({
    connection: { connectionString: proxy.url },
    max: 3,
    onIdleError: () => undefined,
  });
});
afterAll(async () => {
  await pool.end();
  await proxy.close();
  await world.close();
});
beforeEach(async () => {
  await world.reset();
});

const round = async (): Promise<unknown> =>
  await runRound({
    pool,
    cluster: world.cluster,
    spec: SPEC,
    cap: CAP,
    rules: RULES,
    signal: never,
    progress: () => undefined,
    log: quiet,
    metrics: undefined,
  });

test.each([
  ['that a Pod is about to be asked for', 'set create_sent_at'],
  ['that a Pod was created', 'coalesce($3, pod_uid)'],
  ['that it is running', "set state = 'running'"],
  ['that a place was given', 'set placed_at = clock_timestamp(), reason'],
])('the answer to the word %s is lost: it is running in the end, with one Pod', async (_what, text) => {
  await world.wish('start', 'ada');
  const lost = proxy.loseAnswerTo(text);
  const rounds = (async () => {
    for (let turn = 0; turn < 6; turn += 1) await round().catch(() => undefined);
  })();
  await lost;
  await rounds;
  expect(await world.runtime('ada')).toMatchObject({
    state: 'running',
    podUid: world.pod('ada')?.metadata.uid,
  });
  expect(world.kube.state.created).toBe(1);
});

test('the answer to the word that it is gone is lost: it is stopped, and its place is free', async () => {
  await world.wish('start', 'ada');
  await round();
  await round();
  await world.wish('stop', 'ada');
  await round();
  const lost = proxy.loseAnswerTo('start_again = false, creates_unknown = 0');
  await round().catch(() => undefined);
  await lost;
  await round();
  expect(await world.runtime('ada')).toMatchObject({ state: 'stopped', placed: false });
  expect(world.inCluster()).toEqual({ pods: 0, services: 0 });
});

test('a database that answers nothing fails ticks, is no stall, and is gone on with', async () => {
  await world.wish('start', 'ada');
  const { loop } = keeper({
    pool,
    cluster: world.cluster,
    spec: SPEC,
    cap: CAP,
    rules: RULES,
    holder: 'worker/1',
    leaseTtlMs: 600_000,
  });
  let beats = 0;
  const context = { signal: never, stopping: never, log: quiet, progress: () => void (beats += 1) };
  await loop.tick(context);
  proxy.stall();
  const before = beats;
  await expect(loop.tick(context)).rejects.toThrow('no answer within');
  // Four times a second while it waited for five.
  expect(beats - before).toBeGreaterThan(4);
  proxy.restore();
  await expect
    .poll(
      async () => {
        await loop.tick(context).catch(() => undefined);
        return (await world.runtime('ada')).state;
      },
      { timeout: 120_000 },
    )
    .toBe('running');
  await loop.stop?.();
});

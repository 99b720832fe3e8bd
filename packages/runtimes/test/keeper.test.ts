// The loop that keeps runtimes: one process at a time, at once when something is wished, patient when the cluster is away.

import { createLogger } from '@pulsebox/loop';
import type { Loop, TickContext } from '@pulsebox/loop';
import { keeper, runtimesMetrics } from '@pulsebox/runtimes';
import type { Keeper, KeeperOptions } from '@pulsebox/runtimes';
import { eventually, tooManyRequests } from '@pulsebox/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { Registry } from 'prom-client';

import { CAP, RULES, runtimesWorld, SPEC } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** A busy machine takes its time. */
let world: RuntimesWorld;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  world = await runtimesWorld(inject('serverUrl'));
});
afterAll(async () => {
  await world.close();
});
beforeEach(async () => {
  await world.reset();
});
afterEach(async () => {
  world.kube.heal();
  await Promise.all(running.splice(0).map((one) => one.stop()));
});

const quiet = createLogger({ worker: 'test', level: 'silent' });

function keep(options: Partial<KeeperOptions> = {}): Keeper {
  return keeper({
    pool: world.db.pool,
    cluster: world.cluster,
    spec: SPEC,
    cap: CAP,
    rules: RULES,
    holder: 'worker/1',
    pollMs: 20,
    ...options,
  });
}

interface Turning {
  readonly rests: number[];
  readonly errors: unknown[];
  stop(): Promise<void>;
}

/** Turns it as the loop library does, but for long rests, which a test need not wait for. */
function turn(loop: Loop): Turning {
  const stopping = new AbortController();
  const context: TickContext = {
    signal: new AbortController().signal,
    stopping: stopping.signal,
    progress: () => undefined,
    log: quiet,
  };
  const rests: number[] = [];
  const errors: unknown[] = [];
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const result = await loop.tick(context);
        rests.push(result?.nextInMs ?? 0);
      } catch (error) {
        errors.push(error);
      }
      await loop.rest?.(20, stopping.signal);
    }
  }
  const ended = run();
  const turning = {
    rests,
    errors,
    async stop() {
      stopping.abort();
      await ended;
      await loop.stop?.();
    },
  };
  running.push(turning);
  return turning;
}

async function is(user: string, state: string): Promise<void> {
  await eventually(async () => (await world.runtime(user)).state === state);
}

test('brings wishes about, and stops on its way down without a trace', async () => {
  const turning = turn(keep().loop);
  await world.wish('start', 'ada');
  await is('ada', 'running');
  await world.wish('stop', 'ada');
  await is('ada', 'stopped');
  await turning.stop();
  await turning.stop();
  expect(turning.errors).toEqual([]);
  const { rows } = await world.db.pool.query(
    `select holder from pulsebox.lease where name = 'runtimes/keeper'`,
  );
  expect(rows).toEqual([{ holder: null }]);
});

test('one of two keeps, and when it goes the other does', async () => {
  const first = turn(keep().loop);
  await eventually(() => first.rests.length > 0);
  const other = await world.open();
  const second = turn(keep({ holder: 'worker/2', cluster: other }).loop);
  await eventually(() => second.rests.length > 0);
  expect(second.rests[0]).toBe(3_000);
  await first.stop();
  await world.wish('start', 'ada');
  await is('ada', 'running');
});

test('nothing in motion: the cluster is left alone until a round is due', async () => {
  const turning = turn(keep().loop);
  await eventually(() => turning.rests.length > 0);
  const asked = world.kube.requests.length;
  const turned = turning.rests.length;
  await eventually(() => turning.rests.length > turned + 10);
  expect(world.kube.requests.length).toBe(asked);
  const often = turn(keep({ holder: 'worker/1', everyMs: 30 }).loop);
  await turning.stop();
  await eventually(() => world.kube.requests.length > asked + 6);
  await often.stop();
});

test('a wish ends its rest', async () => {
  const { loop, ring } = keep();
  const resting = loop.rest?.(3_600_000, new AbortController().signal);
  ring();
  await resting;
  // Rung while nobody rested: the next rest is none.
  ring();
  await loop.rest?.(3_600_000, new AbortController().signal);
});

test('an API server that is away is said in `checks`, waited for longer and longer, and gone on with', async () => {
  const { loop } = keep();
  world.kube.outage();
  await world.wish('start', 'ada');
  const turning = turn(loop);
  await eventually(() => turning.rests.length >= 4);
  expect(turning.errors).toEqual([]);
  const [first = 0, second = 0, third = 0] = turning.rests;
  expect([second / first, third / second]).toEqual([2, 2]);
  expect(loop.checks?.()['kubernetes']).toMatchObject({ status: 'degraded' });
  world.kube.heal();
  await is('ada', 'running');
  await eventually(() => loop.checks?.()['kubernetes']?.status === 'ok');
});

test('an API server that asks to be left alone is left alone for that long', async () => {
  const { loop } = keep();
  world.kube.inject({ fault: { kind: 'answer', answer: tooManyRequests(17) } });
  const turning = turn(loop);
  await eventually(() => turning.rests.length > 0);
  expect(turning.rests[0]).toBe(17_000);
});

test('a round whose lease is lost ends, and another has it', async () => {
  const { loop } = keep({ leaseTtlMs: 600 });
  world.kube.inject({ method: 'POST', path: /pods$/, fault: { kind: 'silence' } });
  await world.wish('start', 'ada');
  const turning = turn(loop);
  await eventually(() => world.kube.requests.some(({ method }) => method === 'POST'));
  await world.db.pool.query(
    `update pulsebox.lease set holder = 'thief', token = token + 1, expires_at = now() + interval '1 hour'
     where name = 'runtimes/keeper'`,
  );
  await eventually(() => turning.rests.includes(3_000));
  expect(turning.errors).toEqual([]);
  expect(await world.runtime('ada')).toMatchObject({ state: 'starting', placed: true, podUid: null });
});

test('gauges are those of the one that keeps, and gone when it does not', async () => {
  const registry = new Registry();
  const metrics = runtimesMetrics(registry);
  const turning = turn(keep({ metrics }).loop);
  await world.wish('start', 'ada');
  await is('ada', 'running');
  await eventually(async () => (await registry.metrics()).includes('runtimes{state="running"} 1'));
  expect(await registry.metrics()).toMatch(/^runtimes_last_round_timestamp_seconds \d/m);
  await turning.stop();
  const after = await registry.metrics();
  expect(after).not.toContain('runtimes{');
  expect(after).not.toMatch(/^runtimes_last_round_timestamp_seconds \d/m);
  expect(after).toContain('runtimes_decisions_total{decision="run"} ');
});

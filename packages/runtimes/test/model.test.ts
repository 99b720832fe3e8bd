// Random wishes, crashes, lost answers, outages and other people's deletions, in any order. While it lasts no
// organisation has more Pods than places; after it, exactly what is wished is there.

import { openKubernetes } from '@pulsebox/runtimes';
import type { Cluster } from '@pulsebox/runtimes';
import { failure, tooManyRequests } from '@pulsebox/test-support';
import type { KubernetesFault, PodBehaviour } from '@pulsebox/test-support';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { runtimesWorld } from './runtimes-world.ts';
import type { RuntimesWorld } from './runtimes-world.ts';

/** `RUNTIMES_MODEL_RUNS=200 npx vitest run packages/runtimes/test/model.test.ts` for more. */
const RUNS = Number(process.env['RUNTIMES_MODEL_RUNS'] ?? 6);
const USERS = ['ada', 'bob', 'cleo', 'dora', 'emil', 'finn'];
const CAP = 2;
/** A create that the server carries out late; the place is kept for longer than that. */
const LATE_MS = 600;
const SETTLE_MS = 5_000;

let world: RuntimesWorld;
let clusters: readonly Cluster[];

beforeAll(async () => {
  world = await runtimesWorld(inject('serverUrl'));
  clusters = [await impatient(), await impatient()];
});
afterAll(async () => {
  await Promise.all(clusters.map((cluster) => cluster.close()));
  await world.close();
});

async function impatient(): Promise<Cluster> {
  return await openKubernetes({
    kubeconfig: world.kube.kubeconfig,
    namespace: undefined,
    timeoutMs: 300,
    pageSize: 2,
  });
}

const organisationOf = (user: string): string => (USERS.indexOf(user) < 3 ? 'acme' : 'umbrella');

type Step =
  | { readonly do: 'wish'; readonly wish: 'start' | 'stop' | 'settings'; readonly user: string }
  | { readonly do: 'round'; readonly by: 0 | 1; readonly beside: boolean }
  /** The process dies when this many more requests have reached the server. */
  | { readonly do: 'crash'; readonly after: number }
  | { readonly do: 'fault'; readonly method: string | undefined; readonly fault: KubernetesFault }
  | { readonly do: 'outage'; readonly away: boolean }
  | { readonly do: 'behave'; readonly user: string; readonly how: PodBehaviour }
  | { readonly do: 'vanish'; readonly user: string; readonly what: 'pods' | 'services' }
  | { readonly do: 'idle'; readonly user: string };

const anyUser = fc.constantFrom(...USERS);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('wish' as const),
      wish: fc.constantFrom('start' as const, 'start' as const, 'stop' as const, 'settings' as const),
      user: anyUser,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('round' as const),
      by: fc.constantFrom(0 as const, 1 as const),
      beside: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('crash' as const), after: fc.integer({ min: 1, max: 8 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      method: fc.constantFrom('POST', 'POST', 'DELETE', 'GET', undefined),
      fault: fc.constantFrom<KubernetesFault>(
        { kind: 'reset' },
        { kind: 'lost-answer' },
        { kind: 'silence' },
        { kind: 'slow', ms: LATE_MS },
        { kind: 'answer', answer: tooManyRequests(1) },
        { kind: 'answer', answer: failure(500, 'InternalError', 'etcd') },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('outage' as const), away: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('behave' as const),
      user: anyUser,
      how: fc.constantFrom<PodBehaviour>(
        'ready',
        'ready',
        'pending',
        'crash-loop',
        'evicted',
        'unschedulable',
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('vanish' as const),
      user: anyUser,
      what: fc.constantFrom('pods' as const, 'services' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('idle' as const), user: anyUser }) },
);

const RULES = { startTimeoutMs: 1_500, idleTimeoutMs: 60_000, settleMs: SETTLE_MS, orphanAgeMs: 0 };
/** In the end nothing is too slow. */
const PATIENT = { ...RULES, startTimeoutMs: 600_000 };
const ROUND = { cap: { perOrganisation: CAP }, rules: RULES };

async function take(step: Step): Promise<void> {
  const { kube } = world;
  switch (step.do) {
    case 'wish':
      await world.wish(step.wish, step.user, organisationOf(step.user));
      return;
    case 'round': {
      const [first, second] = step.by === 0 ? clusters : clusters.toReversed();
      const rounds = (step.beside ? [first, second] : [first]).map((cluster) =>
        world.round({ ...ROUND, ...(cluster === undefined ? {} : { cluster }) }),
      );
      await Promise.allSettled(rounds);
      return;
    }
    case 'crash': {
      const dead = new AbortController();
      let left = step.after;
      const [cluster] = clusters;
      const seen = kube.requests.length;
      const watch = setInterval(() => {
        left = step.after - (kube.requests.length - seen);
        if (left <= 0) dead.abort(new Error('killed'));
      }, 1);
      await world
        .round({ ...ROUND, signal: dead.signal, ...(cluster === undefined ? {} : { cluster }) })
        .catch(() => undefined);
      clearInterval(watch);
      return;
    }
    case 'fault':
      kube.inject({ fault: step.fault, ...(step.method === undefined ? {} : { method: step.method }) });
      return;
    case 'outage':
      if (step.away) kube.outage();
      else kube.heal();
      return;
    case 'behave':
      kube.state.behave(step.how, `openclaw-${step.user}`);
      return;
    case 'vanish':
      kube.state.vanish(step.what, 'agents', `openclaw-${step.user}`);
      return;
    case 'idle':
    default:
      await world.db.pool.query(
        `update app.agent_runtimes set last_active_at = last_active_at - interval '2 minutes',
           running_at = running_at - interval '2 minutes' where user_id = $1`,
        [step.user],
      );
  }
}

/** Rounds until nothing moves any more. */
async function settle(): Promise<void> {
  world.kube.heal();
  for (const user of USERS) world.kube.state.behave('ready', `openclaw-${user}`);
  await expect
    .poll(
      async () => {
        const acted = await world.round({ ...ROUND, rules: PATIENT }).then(
          (report) => report.acted,
          () => 1,
        );
        const { rows } = await world.db.pool.query(
          `select from app.agent_runtimes
           where state in ('starting', 'stopping') or state = 'error' and placed_at is not null`,
        );
        return acted + rows.length;
      },
      { timeout: 120_000, interval: 20 },
    )
    .toBe(0);
}

test('exactly what is wished is there in the end, and never more than there are places', {
  timeout: 600_000,
}, async () => {
  const tooMany: string[] = [];
  world.kube.onRequest(({ method }) => {
    if (method !== 'POST') return;
    for (const organisation of ['acme', 'umbrella']) {
      const pods = world.kube.state
        .objects('pods')
        .filter(({ metadata }) => organisationOf(metadata.name.slice('openclaw-'.length)) === organisation);
      if (pods.length > CAP)
        tooMany.push(`${organisation}: ${pods.map(({ metadata }) => metadata.name).join(', ')}`);
    }
  });

  await fc.assert(
    fc.asyncProperty(
      fc.array(anyStep, { minLength: 30, maxLength: 60 }),
      fc.uniqueArray(anyUser, { maxLength: USERS.length }),
      async (steps, chosen) => {
        await world.reset();
        world.kube.state.behaviour.terminationMs = 15;
        for (const step of steps) await take(step);
        expect(tooMany).toEqual([]);

        await settle();
        // As many as there are places for.
        const wished = ['acme', 'umbrella'].flatMap((organisation) =>
          chosen.filter((user) => organisationOf(user) === organisation).slice(0, CAP),
        );
        for (const user of USERS) if (!wished.includes(user)) await world.wish('stop', user);
        for (const user of wished) await world.wish('start', user, organisationOf(user));
        await settle();

        expect(tooMany).toEqual([]);
        const names = wished.map((user) => `openclaw-${user}`).toSorted();
        for (const resource of ['pods', 'services'] as const) {
          const there = world.kube.state.objects(resource).map(({ metadata }) => metadata.name);
          expect(there.toSorted(), resource).toEqual(names);
        }
        const { rows } = await world.db.pool.query<{ user_id: string; pod_uid: string }>(
          `select user_id, pod_uid from app.agent_runtimes where state = 'running' order by user_id`,
        );
        expect(rows).toEqual(
          wished.toSorted().map((user) => ({ user_id: user, pod_uid: world.pod(user)?.metadata.uid })),
        );
        const { rows: placed } = await world.db.pool.query<{ user_id: string }>(
          `select user_id from app.agent_runtimes where placed_at is not null order by user_id`,
        );
        expect(placed.map(({ user_id }) => user_id)).toEqual(wished.toSorted());
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
});

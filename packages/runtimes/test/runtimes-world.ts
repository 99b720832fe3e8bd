// A database, a stand-in for the API server, the official client between them, and rounds at the test's word.

import { createLogger } from '@pulsebox/loop';
import type { BatchOutcome, JsonValue, OutboxEvent } from '@pulsebox/outbox';
import { openKubernetes, runtimesHandler, runtimesMetrics, showRuntime } from '@pulsebox/runtimes';
import { runRound } from '../src/round.ts';
import { runtimeKey, runtimeTopics } from '../src/runtime-command.ts';
import { runtimeName } from '../src/runtime-name.ts';
import type {
  Cap,
  Cluster,
  KubernetesOptions,
  RoundReport,
  RuntimeDetails,
  SurveyRules,
} from '@pulsebox/runtimes';
import { createTestDatabase, startKubernetesStandIn } from '@pulsebox/test-support';
import type { KubernetesStandIn, StoredObject, TestDatabase } from '@pulsebox/test-support';
import { Registry } from 'prom-client';

export const SPEC = {
  image: 'registry/openclaw:1',
  resources: { cpuRequest: '100m', memoryRequest: '256Mi', cpuLimit: '500m', memoryLimit: '1Gi' },
};

export const RULES: SurveyRules = {
  startTimeoutMs: 300_000,
  idleTimeoutMs: 1_800_000,
  settleMs: 90_000,
  orphanAgeMs: 120_000,
};

export const CAP: Cap = { perOrganisation: 8, inAll: undefined };

export interface RoundSettings {
  readonly rules?: Partial<SurveyRules>;
  readonly cap?: Partial<Cap>;
  readonly cluster?: Cluster;
  readonly signal?: AbortSignal;
}

export interface RuntimesWorld {
  readonly db: TestDatabase;
  readonly kube: KubernetesStandIn;
  readonly cluster: Cluster;
  readonly registry: Registry;
  readonly logged: readonly string[];
  /** Delivers one event, as the relay would: with the next position, and the key that it should have. */
  wish(wish: keyof typeof runtimeTopics, user: string, org?: string): Promise<BatchOutcome>;
  deliver(events: readonly Partial<OutboxEvent>[]): Promise<BatchOutcome>;
  round(settings?: RoundSettings): Promise<RoundReport>;
  /** Another client: another process. */
  open(options?: Partial<KubernetesOptions>): Promise<Cluster>;
  runtime(user: string): Promise<RuntimeDetails>;
  pod(user: string): StoredObject | undefined;
  service(user: string): StoredObject | undefined;
  /** `pods/1`, for what there is in the cluster. */
  inCluster(): { readonly pods: number; readonly services: number };
  /** Makes the row think that all this was so much earlier. */
  age(user: string, ms: number): Promise<void>;
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function runtimesWorld(serverUrl: string): Promise<RuntimesWorld> {
  const db = await createTestDatabase(serverUrl);
  const kube = await startKubernetesStandIn();
  const registry = new Registry();
  const metrics = runtimesMetrics(registry);
  const opened: Cluster[] = [];
  const open = async (options: Partial<KubernetesOptions> = {}): Promise<Cluster> => {
    const cluster = await openKubernetes({
      kubeconfig: kube.kubeconfig,
      namespace: undefined,
      timeoutMs: 5_000,
      ...options,
    });
    opened.push(cluster);
    return cluster;
  };
  const cluster = await open({ metrics });
  const logged: string[] = [];
  const log = createLogger({
    worker: 'test',
    destination: { write: (line: string) => void logged.push(line) },
  });
  const never = new AbortController().signal;
  let position = 0;

  async function deliver(events: readonly Partial<OutboxEvent>[]): Promise<BatchOutcome> {
    const outcome = await runtimesHandler({ pool: db.pool })(
      {
        group: 'runtimes',
        lane: 0,
        events: events.map((event) => ({
          position: ++position,
          topic: 'runtime.start_requested',
          key: null,
          payload: {},
          headers: {},
          createdAt: new Date(),
          ...event,
        })),
      },
      { signal: never, fencingToken: 1, progress: () => undefined, log },
    );
    return outcome ?? { failed: [] };
  }

  return {
    db,
    kube,
    cluster,
    registry,
    logged,
    deliver,
    open,
    wish(wish, user, org = 'acme') {
      const payload: JsonValue = { user_id: user, org_id: org };
      return deliver([{ topic: runtimeTopics[wish], key: runtimeKey(user), payload }]);
    },
    round: (settings = {}) =>
      runRound({
        pool: db.pool,
        cluster: settings.cluster ?? cluster,
        spec: SPEC,
        cap: { ...CAP, ...settings.cap },
        rules: { ...RULES, ...settings.rules },
        signal: settings.signal ?? never,
        progress: () => undefined,
        log,
        metrics,
      }),
    runtime: (user) => showRuntime(db.pool, user),
    pod: (user) => kube.state.objects('pods').find(({ metadata }) => metadata.name === runtimeName(user)),
    service: (user) =>
      kube.state.objects('services').find(({ metadata }) => metadata.name === runtimeName(user)),
    inCluster: () => ({
      pods: kube.state.objects('pods').length,
      services: kube.state.objects('services').length,
    }),
    async age(user, ms) {
      await db.pool.query(
        `update app.agent_runtimes set
           requested_at = requested_at - $2 * interval '1 ms', placed_at = placed_at - $2 * interval '1 ms',
           create_sent_at = create_sent_at - $2 * interval '1 ms', running_at = running_at - $2 * interval '1 ms',
           last_active_at = last_active_at - $2 * interval '1 ms'
         where user_id = $1`,
        [user, ms],
      );
    },
    async reset() {
      kube.heal();
      for (const resource of ['pods', 'services'] as const) {
        kube.grant(resource, ['get', 'list', 'create', 'delete']);
        for (const { metadata } of kube.state.objects(resource))
          kube.state.vanish(resource, metadata.namespace, metadata.name);
      }
      kube.state.behave('ready');
      kube.state.behaviour.startMs = 0;
      kube.state.mostPods = 0;
      kube.state.created = 0;
      kube.state.behaviour.terminationMs = 0;
      (kube.requests as unknown[]).length = 0;
      logged.length = 0;
      registry.resetMetrics();
      await db.pool.query('truncate app.agent_runtimes, app.user_agent_settings');
      await db.pool.query(`delete from pulsebox.lease where name like 'runtimes/%'`);
    },
    async close() {
      await Promise.all(opened.map((one) => one.close()));
      await kube.close();
      await db.drop();
    },
  };
}

// Each rule of `npm run k8s:verify`, shown to bite: the shipped manifests pass, and one change makes it speak.

import { beforeAll, describe, expect, test } from 'vitest';
import { contractOf } from '../../scripts/k8s/contract.ts';
import type { Manifest } from '../../scripts/k8s/manifest.ts';
import type { Rendered } from '../../scripts/k8s/rule.ts';
import { TARGETS } from '../../scripts/k8s/targets.ts';
import { faultsOf, renderTarget } from '../../scripts/k8s/verify.ts';

type Json = Record<string, any>; // oxlint-disable-line typescript/no-explicit-any -- a mutant reaches into whatever it breaks

const SHOWN = [
  'local',
  'production',
  'production with keda',
  'production with backup',
  'production with backup and istio',
];
const rendered = new Map<string, Rendered>();

beforeAll(async () => {
  for (const name of SHOWN) {
    const target = TARGETS.find((one) => one.name === name);
    if (target === undefined) throw new Error(`no target is called ${name}`);
    rendered.set(name, await renderTarget(target));
  }
}, 600_000);

test.each(SHOWN)('finds nothing wrong with %s', (name) => {
  expect(faultsOf(of(name))).toEqual([]);
});

interface Mutant {
  readonly title: string;
  readonly of?: string;
  readonly mutate: (find: (kind: string, name?: string) => Json, rendered: { manifests: Json[] }) => void;
  readonly says: RegExp;
}

const worker = (find: (kind: string, name?: string) => Json): Json =>
  find('Deployment', 'worker')['spec'].template.spec;

const MUTANTS: Readonly<Record<string, readonly Mutant[]>> = {
  tenant: [
    {
      title: 'a Role in production',
      mutate: (_, { manifests }) => manifests.push(object('Role', { rules: [] })),
      says: /may not make a Role/,
    },
    {
      title: 'a NetworkPolicy in production',
      mutate: (_, { manifests }) => manifests.push(object('NetworkPolicy', { spec: { podSelector: {} } })),
      says: /may not make a NetworkPolicy/,
    },
    {
      title: 'a namespace in production',
      mutate: (find) => (find('Deployment', 'worker')['metadata'].namespace = 'mine'),
      says: /names the namespace mine/,
    },
  ],
  images: [
    {
      title: 'a tag in production',
      mutate: (find) => (worker(find)['containers'][0].image = 'pulsebox:1.2'),
      says: /expected an image by digest/,
    },
    {
      title: 'the tag latest',
      of: 'local',
      mutate: (find) => (worker(find)['initContainers'][0].image = 'pulsebox:latest'),
      says: /whatever was pushed last/,
    },
    {
      title: 'no tag',
      of: 'local',
      mutate: (find) => (worker(find)['containers'][0].image = 'registry:5000/pulsebox'),
      says: /whatever was pushed last/,
    },
    {
      title: 'a made-up digest',
      mutate: (find) => (worker(find)['containers'][0].image = `pulsebox@sha256:${'0'.repeat(64)}`),
      says: /digest .* is a placeholder/,
    },
  ],
  'pod security': [
    {
      title: 'a root user',
      mutate: (find) => (worker(find)['securityContext'].runAsUser = 0),
      says: /runAsUser is no number above 0/,
    },
    {
      title: 'no runAsNonRoot',
      mutate: (find) => delete worker(find)['securityContext'].runAsNonRoot,
      says: /runAsNonRoot is not true/,
    },
    {
      title: 'no seccomp profile',
      mutate: (find) => delete worker(find)['securityContext'].seccompProfile,
      says: /seccompProfile/,
    },
    {
      title: 'an init container that may write',
      mutate: (find) => (worker(find)['initContainers'][1].securityContext.readOnlyRootFilesystem = false),
      says: /container schema: readOnlyRootFilesystem/,
    },
    {
      title: 'capabilities kept',
      mutate: (find) => (worker(find)['containers'][0].securityContext.capabilities.drop = ['NET_RAW']),
      says: /capabilities\.drop/,
    },
    {
      title: 'a capability added',
      mutate: (find) => (worker(find)['containers'][0].securityContext.capabilities.add = ['NET_ADMIN']),
      says: /adds capabilities/,
    },
    {
      title: 'privilege escalation',
      mutate: (find) => delete worker(find)['containers'][0].securityContext.allowPrivilegeEscalation,
      says: /allowPrivilegeEscalation/,
    },
    {
      title: 'a path of the node',
      mutate: (find) => worker(find)['volumes'].push({ name: 'x', hostPath: { path: '/' } }),
      says: /mounts a path of the node/,
    },
    {
      title: 'service links',
      mutate: (find) => delete worker(find)['enableServiceLinks'],
      says: /POSTGRES_PORT/,
    },
    {
      title: 'a token for push-worker',
      mutate: (find) =>
        (find('Deployment', 'push-worker')['spec'].template.spec.automountServiceAccountToken = true),
      says: /push-worker: automountServiceAccountToken/,
    },
    {
      title: 'an emptyDir without a limit',
      mutate: (find) => worker(find)['volumes'].push({ name: 'x', emptyDir: {} }),
      says: /sizeLimit/,
    },
  ],
  probes: [
    {
      title: 'two equal probes',
      mutate: (find) => (worker(find)['containers'][0].readinessProbe.httpGet.path = '/health/live'),
      says: /livenessProbe and readinessProbe ask the same/,
    },
    {
      title: 'a missing probe',
      mutate: (find) => delete worker(find)['containers'][0].startupProbe,
      says: /has no startupProbe/,
    },
    {
      title: 'a port that is not there',
      mutate: (find) => (worker(find)['containers'][0].livenessProbe.httpGet.port = 'http'),
      says: /asks port http, which the container does not have/,
    },
    {
      title: 'another port than the code',
      mutate: (find) => (worker(find)['containers'][0].ports[0].containerPort = 8080),
      says: /expected the port health to be 9090, got 8080/,
    },
    {
      title: 'a grace below the drain',
      mutate: (find) => (worker(find)['terminationGracePeriodSeconds'] = 50),
      says: /may need 55 s to stop/,
    },
    {
      title: 'a longer drain than the grace',
      mutate: (find) => (config(find)['WORKER_DRAIN_SECONDS'] = '90'),
      says: /may need 100 s to stop/,
    },
    {
      title: 'a probe quicker than the verdict',
      mutate: (find) => (worker(find)['containers'][0].livenessProbe.periodSeconds = 1),
      says: /before \/health itself/,
    },
    {
      title: 'a higher multiplier than the probe waits',
      mutate: (find) => (config(find)['WORKER_HEALTH_STALENESS_MULTIPLIER'] = '60'),
      says: /before \/health itself \(60 s\)/,
    },
    {
      title: 'no time to start',
      mutate: (find) => (worker(find)['containers'][0].startupProbe.failureThreshold = 2),
      says: /less than 60 s to start/,
    },
    {
      title: 'a stuck worker waited for',
      mutate: (find) => delete worker(find)['containers'][0].livenessProbe.terminationGracePeriodSeconds,
      says: /stuck worker would be waited for/,
    },
  ],
  environment: [
    {
      title: 'a mistyped variable',
      mutate: (find) => worker(find)['containers'][0].env.push({ name: 'MEILI_API_KEYS', value: 'x' }),
      says: /no program reads MEILI_API_KEYS/,
    },
    {
      title: 'a mistyped key of the ConfigMap',
      mutate: (find) => (config(find)['LOG_LEVELS'] = 'info'),
      says: /no program reads LOG_LEVELS/,
    },
    {
      title: 'a value that is refused',
      mutate: (find) => (config(find)['LOG_LEVEL'] = 'loud'),
      says: /expected LOG_LEVEL to be one of/,
    },
    {
      title: 'no database',
      mutate: (find) => {
        delete config(find)['POSTGRES_HOST'];
        without(find, 'DATABASE_URL');
      },
      says: /neither DATABASE_URL nor POSTGRES_HOST is set/,
    },
    {
      title: 'a secret that nobody hands in',
      mutate: (find) => without(find, 'ENCRYPTION_KEY'),
      says: /reads the secret ENCRYPTION_KEY/,
    },
    {
      title: 'a secret in plain text',
      mutate: (find) => worker(find)['containers'][0].env.push({ name: 'MEILI_API_KEY', value: 'abc' }),
      says: /MEILI_API_KEY is a secret and must come from a Secret/,
    },
    {
      title: 'a secret for the wrong worker',
      mutate: (find) =>
        worker(find)['containers'][0].env.push({
          name: 'VAPID_PRIVATE_KEY',
          valueFrom: { secretKeyRef: { name: 'app-secrets', key: 'VAPID_PRIVATE_KEY' } },
        }),
      says: /is given VAPID_PRIVATE_KEY, which worker does not read/,
    },
  ],
  references: [
    {
      title: 'a selector that misses its Pods',
      mutate: (find) => (find('Deployment', 'worker')['spec'].selector.matchLabels.x = 'y'),
      says: /does not match its own Pods/,
    },
    {
      title: 'a Service that selects nothing',
      mutate: (find) =>
        (find('Service', 'worker')['spec'].selector['app.kubernetes.io/component'] = 'workers'),
      says: /Service worker: its selector selects no Pod/,
    },
    {
      title: 'a Service for a port that is not there',
      mutate: (find) => (find('Service', 'worker')['spec'].ports[0].targetPort = 'metrics'),
      says: /no container has the port metrics/,
    },
    {
      title: 'a ConfigMap that is not there',
      mutate: (find) => (worker(find)['containers'][0].envFrom[0].configMapRef.name = 'app-conf'),
      says: /names ConfigMap app-conf/,
    },
    {
      title: 'a key that the Secret does not have',
      mutate: (find) => (variable(find, 'POSTGRES_PASSWORD')['valueFrom'].secretKeyRef.key = 'PASSWORD'),
      says: /names the key PASSWORD/,
    },
    {
      title: 'a ServiceAccount that is not there',
      mutate: (find) => (worker(find)['serviceAccountName'] = 'nobody'),
      says: /names ServiceAccount nobody/,
    },
    {
      title: 'a mount without a volume',
      mutate: (find) => (worker(find)['volumes'] = []),
      says: /mounts tmp, which is no volume/,
    },
    {
      title: 'a budget of disruptions for nobody',
      mutate: (find) =>
        (find('PodDisruptionBudget', 'worker')['spec'].selector.matchLabels['app.kubernetes.io/component'] =
          'x'),
      says: /PodDisruptionBudget worker: its selector selects no Pod/,
    },
    {
      title: 'a policy for nobody',
      of: 'local',
      mutate: (find) =>
        (find('NetworkPolicy', 'worker-to-meilisearch')['spec'].podSelector.matchLabels[
          'app.kubernetes.io/component'
        ] = 'x'),
      says: /podSelector selects no Pod/,
    },
    {
      title: 'a policy whose peers are not there',
      of: 'local',
      mutate: (find) =>
        (find('NetworkPolicy', 'pulsebox-to-postgres')['spec'].egress[0].to[0].podSelector.matchLabels.x =
          'y'),
      says: /names Pods as peers that are not there/,
    },
    {
      title: 'a policy for a port that is not there',
      of: 'local',
      mutate: (find) => (find('NetworkPolicy', 'pulsebox-scrapes')['spec'].ingress[0].ports[0].port = 8080),
      says: /lets in to port 8080/,
    },
    {
      title: 'an Ingress to nowhere',
      of: 'local',
      mutate: (find) => (find('Ingress')['spec'].rules[0].http.paths[0].backend.service.port.name = 'web'),
      says: /a port of it, which is not there/,
    },
    {
      title: 'a binding to nobody',
      of: 'local',
      mutate: (find) => (find('RoleBinding')['subjects'][0].name = 'x'),
      says: /binds to ServiceAccount x/,
    },
    {
      title: 'an autoscaler of nothing',
      of: 'production with keda',
      mutate: (find) => (find('ScaledObject', 'worker')['spec'].scaleTargetRef.name = 'x'),
      says: /scales Deployment x/,
    },
    {
      title: 'a trigger without its credentials',
      of: 'production with keda',
      mutate: (find) => (find('TriggerAuthentication')['spec'].secretTargetRef[0].key = 'KEDA_URL'),
      says: /names the key KEDA_URL/,
    },
  ],
  budget: [
    {
      title: 'more CPU than the budget',
      mutate: (find) => (worker(find)['containers'][0].resources.limits.cpu = '2'),
      says: /limits of cpu are beyond the budget/,
    },
    {
      title: 'no CPU limit in the budget',
      mutate: (find) => delete worker(find)['containers'][0].resources.limits.cpu,
      says: /there is no limit/,
    },
    {
      title: 'a second replica',
      mutate: (find) => (find('Deployment', 'push-worker')['spec'].replicas = 2),
      says: /requests of cpu are beyond the budget of 50m/,
    },
    {
      title: 'a greedy init container',
      mutate: (find) => {
        const { resources } = worker(find)['initContainers'][0];
        resources.requests.memory = '1Gi';
        resources.limits.memory = '1Gi';
      },
      says: /requests of memory are beyond/,
    },
    {
      title: 'memory that can be taken away',
      of: 'local',
      mutate: (find) => (worker(find)['containers'][0].resources.limits.memory = '1Gi'),
      says: /memory limit is not its request/,
    },
    {
      title: 'memory of a worker that can be taken away in production',
      mutate: (find) => (worker(find)['containers'][0].resources.limits.memory = '1Gi'),
      says: /Deployment worker, container worker: its memory limit is not its request/,
    },
    {
      title: 'promised memory that PostgreSQL does not ask for',
      mutate: (find) =>
        (find('StatefulSet')['spec'].template.spec.containers[0].resources.requests.memory = '64Mi'),
      says: /asks for 64Mi of memory, but 256Mi are promised/,
    },
    {
      title: 'a heap that does not fit',
      mutate: (find) =>
        (variable(find, 'NODE_OPTIONS')['value'] = '--max-old-space-size=192 --max-semi-space-size=2'),
      says: /a heap of 192 MiB and 6 MiB for what is young/,
    },
    {
      title: 'a young generation of which nobody has thought',
      mutate: (find) => (variable(find, 'NODE_OPTIONS')['value'] = '--max-old-space-size=160'),
      says: /a heap of 160 MiB and 48 MiB for what is young/,
    },
    {
      title: 'a heap without a cap',
      mutate: (find) => (variable(find, 'NODE_OPTIONS')['value'] = '--enable-source-maps'),
      says: /has no --max-old-space-size/,
    },
  ],
  scaling: [
    {
      title: 'replicas beside an autoscaler',
      of: 'production with keda',
      mutate: (find) => (find('Deployment', 'worker')['spec'].replicas = 2),
      says: /fixed number of replicas beside ScaledObject worker/,
    },
    {
      title: 'two autoscalers',
      of: 'production with keda',
      mutate: (_, { manifests }) =>
        manifests.push(
          object('HorizontalPodAutoscaler', {
            spec: { maxReplicas: 2, scaleTargetRef: { kind: 'Deployment', name: 'worker' } },
          }),
        ),
      says: /scaled by .* at once/,
    },
    {
      title: 'no number of replicas',
      mutate: (find) => delete find('Deployment', 'worker')['spec'].replicas,
      says: /nobody says how many replicas/,
    },
    {
      title: 'more connections than there are',
      mutate: (find) => (config(find)['DATABASE_POOL_SIZE'] = '40'),
      says: /may open \d+ connections at once/,
    },
  ],
  rights: [
    {
      title: 'a verb that nobody calls',
      of: 'local',
      mutate: (find) => find('Role')['rules'][0].verbs.push('watch'),
      says: /grants watch/,
    },
    {
      title: 'another resource',
      of: 'local',
      mutate: (find) => find('Role')['rules'][0].resources.push('secrets'),
      says: /grants secrets/,
    },
    {
      title: 'a verb that is called and missing',
      of: 'local',
      mutate: (find) => (find('Role')['rules'][0].verbs = ['get', 'list', 'create']),
      says: /lacks delete/,
    },
    {
      title: 'a ClusterRole',
      of: 'local',
      mutate: (_, { manifests }) => manifests.push(object('ClusterRole', { rules: [] })),
      says: /beyond its namespace/,
    },
  ],
  placeholders: [
    {
      title: 'a value that was to be replaced',
      mutate: (find) => (config(find)['POSTGRES_USER'] = 'CHANGEME'),
      says: /POSTGRES_USER is a placeholder/,
    },
    {
      title: 'a host of an example',
      mutate: (find) => (config(find)['POSTGRES_HOST'] = 'db.example.com'),
      says: /is a placeholder/,
    },
  ],
  mesh: [
    {
      title: 'a Job that PostgreSQL would refuse',
      of: 'production with backup and istio',
      mutate: (find) => delete find('Job')['spec'].template.metadata.labels['sidecar.istio.io/inject'],
      says: /Job migrate: its Pods have no sidecar/,
    },
    {
      title: 'a CronJob that PostgreSQL would refuse',
      of: 'production with backup and istio',
      mutate: (find) =>
        delete find('CronJob')['spec'].jobTemplate.spec.template.metadata.labels['sidecar.istio.io/inject'],
      says: /CronJob backup: its Pods have no sidecar/,
    },
  ],
  jobs: [
    {
      title: 'a Job without an end',
      mutate: (find) => delete find('Job')['spec'].activeDeadlineSeconds,
      says: /no activeDeadlineSeconds/,
    },
    {
      title: 'a CronJob that may overlap',
      of: 'production with backup',
      mutate: (find) => (find('CronJob')['spec'].concurrencyPolicy = 'Allow'),
      says: /not Forbid/,
    },
  ],
};

describe.each(Object.entries(MUTANTS))('the rule of %s', (_, mutants) => {
  test.each(mutants)('finds $title', ({ of: name = 'production', mutate, says }) => {
    const copy = structuredClone(of(name).manifests) as unknown as Json[];
    mutate(
      (kind, wanted) => {
        const found = copy.find(
          (one) => one['kind'] === kind && (wanted === undefined || named(one).startsWith(wanted)),
        );
        if (found === undefined) throw new Error(`${name} has no ${kind} ${wanted ?? ''}`);
        return found;
      },
      { manifests: copy },
    );
    const faults = faultsOf({ ...of(name), manifests: copy as unknown as Manifest[] });
    expect(faults.filter((fault) => says.test(fault))).not.toEqual([]);
  });
});

test('finds a secret of the code that the contract does not have, and a key that nobody reads', () => {
  const keys = new Map(of('production').contract.keys);
  keys.set('Secret app-secrets', new Set(['POSTGRES_PASSWORD', 'JWT_SECRET']));
  const faults = faultsOf({ ...of('production'), contract: { ...contractOf([]), keys } });
  expect(faults.join('\n')).toMatch(/contract\.example\.yaml: no program reads JWT_SECRET/);
  expect(faults.join('\n')).toMatch(
    /the code reads the secret ENCRYPTION_KEY, which app-secrets does not have/,
  );
});

function of(name: string): Rendered {
  const found = rendered.get(name);
  if (found === undefined) throw new Error(`${name} was not rendered`);
  return found;
}

function named(manifest: Json): string {
  return String(manifest['metadata'].name);
}

function config(find: (kind: string, name?: string) => Json): Json {
  return find('ConfigMap', 'app-config')['data'];
}

function variable(find: (kind: string, name?: string) => Json, name: string): Json {
  return worker(find)['containers'][0].env.find((one: Json) => one['name'] === name);
}

function without(find: (kind: string, name?: string) => Json, name: string): void {
  const [container] = worker(find)['containers'];
  container.env = container.env.filter((one: Json) => one['name'] !== name);
}

function object(kind: string, rest: Json): Json {
  return { apiVersion: 'v1', kind, metadata: { name: 'mutant' }, ...rest };
}

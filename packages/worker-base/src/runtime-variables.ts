// Agent runtimes on Kubernetes, as environment variables.

import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';
import { faultsOf } from '@pulsebox/runtimes';
import type { Cap, ClusterAccess, RuntimeSpec, SurveyRules } from '@pulsebox/runtimes';

export const runtimeVariables: {
  readonly OPENCLAW_RUNTIME: Variable<'off' | 'k8s'>;
  readonly OPENCLAW_IMAGE: Variable<string | undefined>;
  readonly OPENCLAW_IDLE_TIMEOUT_SECONDS: Variable<number>;
  readonly OPENCLAW_K8S_NAMESPACE: Variable<string | undefined>;
  readonly OPENCLAW_K8S_KUBECONFIG: Variable<string | undefined>;
  readonly OPENCLAW_K8S_MAX_CONCURRENT_PODS: Variable<number>;
  readonly OPENCLAW_K8S_MAX_PODS_IN_ALL: Variable<number | undefined>;
  readonly OPENCLAW_K8S_CPU_REQUEST: Variable<string>;
  readonly OPENCLAW_K8S_CPU_LIMIT: Variable<string>;
  readonly OPENCLAW_K8S_MEMORY_REQUEST: Variable<string>;
  readonly OPENCLAW_K8S_MEMORY_LIMIT: Variable<string>;
  readonly OPENCLAW_K8S_IMAGE_PULL_POLICY: Variable<'always' | 'ifnotpresent' | 'never' | undefined>;
  readonly OPENCLAW_K8S_IMAGE_PULL_SECRET: Variable<string | undefined>;
  readonly OPENCLAW_K8S_ENV_SECRET: Variable<string | undefined>;
  readonly OPENCLAW_K8S_START_TIMEOUT_SECONDS: Variable<number>;
  readonly OPENCLAW_K8S_ORPHAN_AGE_SECONDS: Variable<number>;
} = {
  OPENCLAW_RUNTIME: env.oneOf(['off', 'k8s'], {
    description: 'k8s: a Pod and a Service for each user who asks for a runtime. off: none.',
    default: 'off',
  }),
  OPENCLAW_IMAGE: env.optional(
    env.string({ description: 'The image of a runtime. Has to be set with OPENCLAW_RUNTIME=k8s.' }),
  ),
  OPENCLAW_IDLE_TIMEOUT_SECONDS: env.seconds({
    description: 'A runtime that was not used for this long is stopped.',
    default: 1_800,
  }),
  OPENCLAW_K8S_NAMESPACE: env.optional(
    env.string({
      description: 'Where runtimes are. Unset: the namespace of the service account, or of the kubeconfig.',
    }),
  ),
  OPENCLAW_K8S_KUBECONFIG: env.optional(
    env.string({ description: 'A kubeconfig. Unset: the service account of the Pod that this runs in.' }),
  ),
  OPENCLAW_K8S_MAX_CONCURRENT_PODS: env.integer({
    description: 'How many runtimes one organisation may have at once.',
    default: 8,
    min: 1,
    max: 10_000,
  }),
  OPENCLAW_K8S_MAX_PODS_IN_ALL: env.optional(
    env.integer({
      description: 'How many runtimes there may be at once, of all organisations. Unset: no such limit.',
      min: 1,
      max: 100_000,
    }),
  ),
  OPENCLAW_K8S_CPU_REQUEST: env.string({ description: 'What each runtime is promised.', default: '100m' }),
  OPENCLAW_K8S_CPU_LIMIT: env.string({ description: 'What each runtime may take.', default: '500m' }),
  OPENCLAW_K8S_MEMORY_REQUEST: env.string({
    description: 'What each runtime is promised.',
    default: '256Mi',
  }),
  OPENCLAW_K8S_MEMORY_LIMIT: env.string({
    description: 'What each runtime may take; beyond it, it is killed.',
    default: '1Gi',
  }),
  OPENCLAW_K8S_IMAGE_PULL_POLICY: env.optional(
    env.oneOf(['always', 'ifnotpresent', 'never'], {
      description: "When the image is pulled. Unset: Kubernetes' own rule.",
    }),
  ),
  OPENCLAW_K8S_IMAGE_PULL_SECRET: env.optional(
    env.string({ description: 'The name of the Secret that the image is pulled with.' }),
  ),
  OPENCLAW_K8S_ENV_SECRET: env.optional(
    env.string({
      description: 'The name of a Secret whose keys become environment variables of each runtime.',
    }),
  ),
  OPENCLAW_K8S_START_TIMEOUT_SECONDS: env.seconds({
    description: 'A runtime that is not ready after this long is an error, and makes room.',
    default: 300,
  }),
  OPENCLAW_K8S_ORPHAN_AGE_SECONDS: env.seconds({
    description: 'Pods and Services that belong to no runtime are deleted when they are this old.',
    default: 120,
  }),
};

export type RuntimeConfig = Environment<typeof runtimeVariables>;

export interface RuntimeSettings {
  readonly access: ClusterAccess;
  readonly spec: RuntimeSpec;
  readonly cap: Cap;
  readonly rules: SurveyRules;
}

/** An API server ends a request of its own accord after 60 s; the rest is for what stands in front of it. */
const SETTLE_MS = 90_000;

const PULL_POLICIES = { always: 'Always', ifnotpresent: 'IfNotPresent', never: 'Never' } as const;

/** A rule for `WorkerCommand.check`: with runtimes on there is an image, and an envelope that Kubernetes takes. */
export function checkRuntimes(config: RuntimeConfig): readonly string[] {
  if (config.OPENCLAW_RUNTIME === 'off') return [];
  if (config.OPENCLAW_IMAGE === undefined) {
    return ['expected OPENCLAW_IMAGE to be set, since OPENCLAW_RUNTIME is k8s, but it is not'];
  }
  return faultsOf(specOf(config, config.OPENCLAW_IMAGE), {
    image: 'OPENCLAW_IMAGE',
    cpuRequest: 'OPENCLAW_K8S_CPU_REQUEST',
    cpuLimit: 'OPENCLAW_K8S_CPU_LIMIT',
    memoryRequest: 'OPENCLAW_K8S_MEMORY_REQUEST',
    memoryLimit: 'OPENCLAW_K8S_MEMORY_LIMIT',
  });
}

/** Undefined: runtimes are off. */
export function runtimeSettings(config: RuntimeConfig): RuntimeSettings | undefined {
  if (config.OPENCLAW_RUNTIME === 'off' || config.OPENCLAW_IMAGE === undefined) return undefined;
  return {
    access: {
      kubeconfig: config.OPENCLAW_K8S_KUBECONFIG,
      namespace: config.OPENCLAW_K8S_NAMESPACE,
    },
    spec: specOf(config, config.OPENCLAW_IMAGE),
    cap: {
      perOrganisation: config.OPENCLAW_K8S_MAX_CONCURRENT_PODS,
      inAll: config.OPENCLAW_K8S_MAX_PODS_IN_ALL,
    },
    rules: {
      startTimeoutMs: config.OPENCLAW_K8S_START_TIMEOUT_SECONDS * 1_000,
      idleTimeoutMs: config.OPENCLAW_IDLE_TIMEOUT_SECONDS * 1_000,
      orphanAgeMs: config.OPENCLAW_K8S_ORPHAN_AGE_SECONDS * 1_000,
      settleMs: SETTLE_MS,
    },
  };
}

function specOf(config: RuntimeConfig, image: string): RuntimeSpec {
  const policy = config.OPENCLAW_K8S_IMAGE_PULL_POLICY;
  return {
    image,
    imagePullPolicy: policy === undefined ? undefined : PULL_POLICIES[policy],
    imagePullSecret: config.OPENCLAW_K8S_IMAGE_PULL_SECRET,
    environmentSecret: config.OPENCLAW_K8S_ENV_SECRET,
    resources: {
      cpuRequest: config.OPENCLAW_K8S_CPU_REQUEST,
      cpuLimit: config.OPENCLAW_K8S_CPU_LIMIT,
      memoryRequest: config.OPENCLAW_K8S_MEMORY_REQUEST,
      memoryLimit: config.OPENCLAW_K8S_MEMORY_LIMIT,
    },
  };
}

// Kubernetes objects as the checks read them: only the fields that some check looks at. Whether all the others are right is
// the schema's business.

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec?: Spec;
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
  /** Of a Role. */
  readonly rules?: readonly PolicyRule[];
  /** Of a RoleBinding. */
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string }[];
  readonly automountServiceAccountToken?: boolean;
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Labels;
  readonly annotations?: Labels;
}

export type Labels = Readonly<Record<string, string>>;

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

export interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

interface Spec {
  readonly replicas?: number;
  readonly selector?: Selector & Labels;
  readonly podSelector?: Selector;
  readonly template?: { readonly metadata: { readonly labels?: Labels }; readonly spec: PodSpec };
  readonly jobTemplate?: {
    readonly spec: {
      readonly template: { readonly metadata: { readonly labels?: Labels }; readonly spec: PodSpec };
    };
  };
  readonly ports?: readonly {
    readonly name?: string;
    readonly port: number;
    readonly targetPort?: number | string;
  }[];
  readonly rules?: readonly IngressRule[];
  readonly scaleTargetRef?: { readonly name: string; readonly kind?: string };
  readonly maxReplicas?: number;
  readonly maxReplicaCount?: number;
  readonly ingress?: readonly PolicyPeers[];
  readonly egress?: readonly PolicyPeers[];
  readonly podMetricsEndpoints?: readonly { readonly port?: string }[];
  readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
  readonly secretTargetRef?: readonly { readonly name: string; readonly key: string }[];
  readonly triggers?: readonly {
    readonly authenticationRef?: { readonly name: string };
    readonly metadata: Readonly<Record<string, string>>;
  }[];
  readonly target?: { readonly name: string };
  readonly host?: string;
  readonly hosts?: readonly string[];
  readonly mtls?: { readonly mode: string };
}

interface IngressRule {
  readonly http: {
    readonly paths: readonly {
      readonly backend: {
        readonly service: {
          readonly name: string;
          readonly port: { readonly name?: string; readonly number?: number };
        };
      };
    }[];
  };
}

export interface PolicyPeers {
  readonly from?: readonly { readonly podSelector?: Selector; readonly namespaceSelector?: Selector }[];
  readonly to?: readonly { readonly podSelector?: Selector; readonly namespaceSelector?: Selector }[];
  readonly ports?: readonly { readonly port?: number | string }[];
}

export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: SecurityContext;
  readonly initContainers?: readonly ContainerSpec[];
  readonly containers: readonly ContainerSpec[];
  readonly volumes?: readonly Volume[];
  readonly imagePullSecrets?: readonly { readonly name: string }[];
}

export interface SecurityContext {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly seccompProfile?: { readonly type: string };
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
}

export interface Volume {
  readonly name: string;
  readonly emptyDir?: { readonly sizeLimit?: string };
  readonly secret?: {
    readonly secretName: string;
    readonly items?: readonly { readonly key: string; readonly path: string }[];
  };
  readonly configMap?: { readonly name: string };
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly hostPath?: object;
}

export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly ports?: readonly {
    readonly name?: string;
    readonly containerPort: number;
    readonly hostPort?: number;
  }[];
  readonly env?: readonly EnvironmentVariable[];
  readonly envFrom?: readonly {
    readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
    readonly secretRef?: { readonly name: string; readonly optional?: boolean };
  }[];
  readonly resources?: { readonly requests?: Resources; readonly limits?: Resources };
  readonly securityContext?: SecurityContext;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
}

export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: KeyReference;
    readonly configMapKeyRef?: KeyReference;
  };
}

export interface KeyReference {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

export interface Resources {
  readonly cpu?: string | number;
  readonly memory?: string | number;
}

export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: number | string };
  readonly exec?: { readonly command: readonly string[] };
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly failureThreshold?: number;
  readonly terminationGracePeriodSeconds?: number;
}

/** A Pod as some object makes it. */
export interface MadePod {
  readonly owner: Manifest;
  readonly labels: Labels;
  readonly spec: PodSpec;
}

export function podsOf(manifests: readonly Manifest[]): MadePod[] {
  return manifests.flatMap((owner) => {
    const template = owner.spec?.template ?? owner.spec?.jobTemplate?.spec.template;
    return template === undefined
      ? []
      : [{ owner, labels: template.metadata.labels ?? {}, spec: template.spec }];
  });
}

/** The three workers: what runs until it is stopped, from our image. */
export function workersOf(manifests: readonly Manifest[]): MadePod[] {
  return podsOf(manifests).filter(({ owner }) => owner.kind === 'Deployment');
}

export function containersOf({ spec }: MadePod): ContainerSpec[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** How a fault calls an object. */
export function nameOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.name}`;
}

export function selects(selector: Selector, labels: Labels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === 'In') return value !== undefined && values.includes(value);
      if (operator === 'NotIn') return value === undefined || !values.includes(value);
      return operator === 'Exists' ? value !== undefined : value === undefined;
    })
  );
}

/** Bytes, or cores. @throws when it is no quantity */
export function quantity(text: string | number): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)([A-Za-z]{0,2})$/.exec(String(text)) ?? [];
  const factor = { '': 1, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }[unit];
  if (amount === undefined || factor === undefined) throw new Error(`expected a quantity, got "${text}"`);
  return Number(amount) * factor;
}

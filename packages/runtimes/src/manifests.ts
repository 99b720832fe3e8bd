// The Pod and the Service of a user, with the names, labels and annotations of the runtime contract.

import type { V1ObjectMeta, V1Pod, V1Service } from '@kubernetes/client-node';
import { runtimeName, userLabel } from './runtime-name.ts';
import { RUNTIME_PORT } from './runtime-spec.ts';
import type { RuntimeSpec } from './runtime-spec.ts';

/** Whatever carries these labels is a runtime's, or an orphan. */
export const RUNTIME_SELECTOR = 'app=openclaw,copilot.managed=true';

export const OWNER_ANNOTATION = 'project.senticor.ai/owner-user-id';
/** Beyond the contract: which start of the user's runtime made it. */
export const START_ANNOTATION = 'project.senticor.ai/start-id';

export interface RuntimeToMake {
  readonly userId: string;
  readonly startId: string;
  /** Handed to the agent as JSON in `OPENCLAW_SETTINGS`. */
  readonly settings: unknown;
}

export function podOf(runtime: RuntimeToMake, spec: RuntimeSpec): V1Pod {
  const { resources } = spec;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadataOf(runtime),
    spec: {
      // Agents run what users ask for: they get no word with the API server, and no list of its neighbours.
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      ...(spec.imagePullSecret === undefined ? {} : { imagePullSecrets: [{ name: spec.imagePullSecret }] }),
      containers: [
        {
          name: 'openclaw',
          image: spec.image,
          ...(spec.imagePullPolicy === undefined ? {} : { imagePullPolicy: spec.imagePullPolicy }),
          ports: [{ name: 'http', containerPort: RUNTIME_PORT }],
          env: [
            { name: 'OPENCLAW_USER_ID', value: runtime.userId },
            { name: 'OPENCLAW_SETTINGS', value: JSON.stringify(runtime.settings) },
          ],
          ...(spec.environmentSecret === undefined
            ? {}
            : { envFrom: [{ secretRef: { name: spec.environmentSecret } }] }),
          resources: {
            requests: { cpu: resources.cpuRequest, memory: resources.memoryRequest },
            limits: { cpu: resources.cpuLimit, memory: resources.memoryLimit },
          },
          readinessProbe: {
            tcpSocket: { port: 'http' },
            periodSeconds: 2,
            timeoutSeconds: 2,
            failureThreshold: 3,
          },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}

export function serviceOf(runtime: RuntimeToMake): V1Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(runtime),
    spec: {
      type: 'ClusterIP',
      selector: { 'openclaw.instance': runtimeName(runtime.userId) },
      ports: [{ name: 'http', port: RUNTIME_PORT, targetPort: 'http' }],
    },
  };
}

/** Where a runtime answers, inside the cluster. */
export function urlOf(name: string, namespace: string): string {
  return `http://${name}.${namespace}.svc.cluster.local:${RUNTIME_PORT}`;
}

function metadataOf({ userId, startId }: RuntimeToMake): V1ObjectMeta {
  const name = runtimeName(userId);
  return {
    name,
    labels: {
      app: 'openclaw',
      'app.kubernetes.io/name': 'openclaw',
      'app.kubernetes.io/component': 'runtime',
      'app.kubernetes.io/managed-by': 'project-backend',
      'openclaw.instance': name,
      'copilot.user_id': userLabel(userId),
      'copilot.managed': 'true',
    },
    annotations: {
      'project.senticor.ai/runtime': 'openclaw-k8s',
      [OWNER_ANNOTATION]: userId,
      'project.senticor.ai/instance': name,
      [START_ANNOTATION]: startId,
    },
  };
}

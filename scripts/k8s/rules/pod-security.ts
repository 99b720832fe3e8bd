// The profile `restricted` of Pod Security, for every container, and what goes beyond it: read-only root, no token, no
// variables that somebody else's Service injects.

import { containersOf, nameOf, podsOf } from '../manifest.ts';
import type { ContainerSpec, MadePod } from '../manifest.ts';
import type { Rule } from '../rule.ts';

/** The only account that may talk to the API server: that of agent runtimes. */
const TOKEN_ALLOWED = 'backend-openclaw-runtime';

export const podSecurityRule: Rule = ({ manifests }) =>
  podsOf(manifests).flatMap((pod) => [
    ...podFaults(pod),
    ...containersOf(pod).flatMap((one) => containerFaults(pod, one)),
  ]);

function podFaults(pod: MadePod): string[] {
  const { spec, owner } = pod;
  const { securityContext: context = {} } = spec;
  const unsafe: readonly [boolean, string][] = [
    [context.runAsNonRoot !== true, 'securityContext.runAsNonRoot is not true'],
    [
      typeof context.runAsUser !== 'number' || context.runAsUser === 0,
      'securityContext.runAsUser is no number above 0',
    ],
    [
      context.seccompProfile?.type !== 'RuntimeDefault',
      'securityContext.seccompProfile is not RuntimeDefault',
    ],
    [
      spec.hostNetwork === true || spec.hostPID === true || spec.hostIPC === true,
      'it shares a namespace of the node',
    ],
    [(spec.volumes ?? []).some(({ hostPath }) => hostPath !== undefined), 'it mounts a path of the node'],
    [
      (spec.volumes ?? []).some(({ emptyDir }) => emptyDir !== undefined && emptyDir.sizeLimit === undefined),
      'an emptyDir has no sizeLimit',
    ],
    [
      spec.enableServiceLinks !== false,
      'enableServiceLinks is not false: a Service called postgres would set POSTGRES_PORT',
    ],
    [spec.serviceAccountName === undefined, "it runs under the namespace's default ServiceAccount"],
    [
      spec.automountServiceAccountToken !== false && spec.serviceAccountName !== TOKEN_ALLOWED,
      'automountServiceAccountToken is not false, and nothing in it talks to the API server',
    ],
  ];
  return unsafe.flatMap(([holds, why]) => (holds ? [`${nameOf(owner)}: ${why}`] : []));
}

function containerFaults(
  { owner }: MadePod,
  { name, securityContext: context = {}, ports = [] }: ContainerSpec,
): string[] {
  const unsafe: readonly [boolean, string][] = [
    [context.runAsNonRoot === false, 'runAsNonRoot is false'],
    [context.runAsUser === 0, 'runAsUser is 0'],
    [context.privileged === true, 'it is privileged'],
    [context.allowPrivilegeEscalation !== false, 'allowPrivilegeEscalation is not false'],
    [context.readOnlyRootFilesystem !== true, 'readOnlyRootFilesystem is not true'],
    [!(context.capabilities?.drop ?? []).includes('ALL'), 'capabilities.drop is not [ALL]'],
    [(context.capabilities?.add ?? []).length > 0, 'it adds capabilities'],
    [ports.some(({ hostPort }) => hostPort !== undefined), 'it takes a port of the node'],
  ];
  return unsafe.flatMap(([holds, why]) => (holds ? [`${nameOf(owner)}, container ${name}: ${why}`] : []));
}

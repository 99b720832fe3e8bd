// A tenant applies what the operators of its cluster allow it, and leaves the rest to them.

import { nameOf } from '../manifest.ts';
import type { Rule } from '../rule.ts';

const NOT_FOR_TENANTS = [
  'Namespace',
  'Ingress',
  'Secret',
  'Role',
  'RoleBinding',
  'ClusterRole',
  'ClusterRoleBinding',
  'NetworkPolicy',
];

export const tenantRule: Rule = ({ manifests, tenant }) =>
  !tenant
    ? []
    : manifests.flatMap((manifest) => [
        ...(NOT_FOR_TENANTS.includes(manifest.kind)
          ? [`${nameOf(manifest)}: a tenant may not make a ${manifest.kind}; its operators do`]
          : []),
        ...(manifest.metadata.namespace === undefined
          ? []
          : [
              `${nameOf(manifest)}: names the namespace ${manifest.metadata.namespace}; whoever applies it chooses`,
            ]),
      ]);

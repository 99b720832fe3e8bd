// What kubectl asks an API server before it asks for what it wants: groups, resources, the version, and what it may do.

import type { KubernetesAnswer } from './kubernetes-status.ts';

const VERBS = ['create', 'delete', 'get', 'list', 'watch', 'patch', 'update'];

/** Undefined: the path is none of these. */
export function discovery(path: string): KubernetesAnswer | undefined {
  const body = bodyOf(path);
  return body === undefined ? undefined : { status: 200, body };
}

function bodyOf(path: string): object | undefined {
  switch (path) {
    case '/version':
      return { major: '1', minor: '32', gitVersion: 'v1.32.0-stand-in', platform: 'linux/amd64' };
    case '/api':
      return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
    case '/apis':
      return {
        kind: 'APIGroupList',
        apiVersion: 'v1',
        groups: [
          {
            name: 'authorization.k8s.io',
            versions: [{ groupVersion: 'authorization.k8s.io/v1', version: 'v1' }],
            preferredVersion: { groupVersion: 'authorization.k8s.io/v1', version: 'v1' },
          },
        ],
      };
    case '/api/v1':
      return {
        kind: 'APIResourceList',
        groupVersion: 'v1',
        resources: [
          {
            name: 'pods',
            singularName: 'pod',
            namespaced: true,
            kind: 'Pod',
            verbs: VERBS,
            shortNames: ['po'],
          },
          {
            name: 'services',
            singularName: 'service',
            namespaced: true,
            kind: 'Service',
            verbs: VERBS,
            shortNames: ['svc'],
          },
        ],
      };
    case '/apis/authorization.k8s.io/v1':
      return {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: 'authorization.k8s.io/v1',
        resources: [
          {
            name: 'selfsubjectaccessreviews',
            singularName: '',
            namespaced: false,
            kind: 'SelfSubjectAccessReview',
            verbs: ['create'],
          },
        ],
      };
    default:
      return undefined;
  }
}

// What the API server shows of Pods and Services, reduced to what decisions are made on.

import type { V1ObjectMeta, V1Pod, V1Service } from '@kubernetes/client-node';
import type { SeenObject, SeenPod, SeenService } from './cluster.ts';
import { OWNER_ANNOTATION, START_ANNOTATION } from './manifests.ts';
import { conditionOf } from './pod-condition.ts';

export function seenPod(pod: V1Pod): SeenPod {
  return { kind: 'Pod', ...commonOf(pod.metadata), condition: conditionOf(pod) };
}

export function seenService(service: V1Service): SeenService {
  return { kind: 'Service', ...commonOf(service.metadata) };
}

function commonOf(metadata: V1ObjectMeta = {}): Omit<SeenObject, 'kind'> {
  const { name = '', uid = '', annotations = {}, creationTimestamp, deletionTimestamp } = metadata;
  return {
    name,
    uid,
    userId: annotations[OWNER_ANNOTATION],
    startId: annotations[START_ANNOTATION],
    createdAtMs: creationTimestamp?.getTime() ?? 0,
    deleting: deletionTimestamp !== undefined,
  };
}

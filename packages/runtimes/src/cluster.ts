// The cluster as this package needs it: get, list, create and delete of Pods and Services in one namespace, no more.

import type { V1Pod, V1Service } from '@kubernetes/client-node';
import type { PodCondition } from './pod-condition.ts';

export interface SeenObject {
  readonly kind: 'Pod' | 'Service';
  readonly name: string;
  readonly uid: string;
  /** As its annotation says; undefined: it does not. */
  readonly userId: string | undefined;
  readonly startId: string | undefined;
  /** By the clock of the cluster, in ms since 1970. */
  readonly createdAtMs: number;
  /** Somebody has deleted it, and it is on its way out. */
  readonly deleting: boolean;
}

export interface SeenPod extends SeenObject {
  readonly kind: 'Pod';
  readonly condition: PodCondition;
}

export interface SeenService extends SeenObject {
  readonly kind: 'Service';
}

export interface ClusterView {
  readonly pods: readonly SeenPod[];
  readonly services: readonly SeenService[];
}

/** `replaced`: another object has the name by now, or what was seen has changed its identity; it was left alone. */
export type Deletion = 'deleting' | 'gone' | 'replaced';

/** Every call has a deadline. @throws RUNTIMES_API_*, and the signal's reason */
export interface Cluster {
  readonly namespace: string;
  /** All Pods and Services of runtimes, whoever made them. */
  list(signal: AbortSignal): Promise<ClusterView>;
  getPod(name: string, signal: AbortSignal): Promise<SeenPod | undefined>;
  getService(name: string, signal: AbortSignal): Promise<SeenService | undefined>;
  /** `exists`: an object of the name is there already. */
  createPod(pod: V1Pod, signal: AbortSignal): Promise<SeenPod | 'exists'>;
  createService(service: V1Service, signal: AbortSignal): Promise<SeenService | 'exists'>;
  /** Only the object that was seen, by its uid. */
  remove(object: SeenObject, signal: AbortSignal): Promise<Deletion>;
  /** Undefined: well, or not asked yet. */
  readonly fault: string | undefined;
  close(): Promise<void>;
}

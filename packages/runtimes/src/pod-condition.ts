// How a Pod is, out of the many places in which Kubernetes says it.

import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';

export type PodCondition =
  | { readonly is: 'ready' }
  /** Not ready. `reason`: what it waits for, as far as it is known. `sinceMs`: the clock of the cluster. */
  | {
      readonly is: 'not-ready';
      readonly reason: string;
      readonly sinceMs: number | undefined;
      /** Kubernetes starts it again and again. */
      readonly crashing: boolean;
    }
  /** It has ended, and will not start again. */
  | { readonly is: 'ended'; readonly reason: string };

export function conditionOf({ status }: V1Pod): PodCondition {
  const containers = status?.containerStatuses ?? [];
  if (status?.phase === 'Failed' || status?.phase === 'Succeeded') {
    const ends = containers.flatMap((container) => endOf(container.state?.terminated) ?? []);
    return { is: 'ended', reason: joined([status.reason, status.message, ...ends]) ?? status.phase };
  }
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'True') return { is: 'ready' };
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  const unscheduled =
    scheduled?.status === 'False' ? joined([scheduled.reason, scheduled.message]) : undefined;
  const waiting = containers.flatMap((container) => waitOf(container) ?? []);
  return {
    is: 'not-ready',
    reason: joined([unscheduled, ...waiting]) ?? 'the container is not ready yet',
    sinceMs: ready?.lastTransitionTime?.getTime(),
    crashing: containers.some(({ state }) => state?.waiting?.reason === 'CrashLoopBackOff'),
  };
}

/** `CrashLoopBackOff: back-off 10s restarting; ended before: OOMKilled, exit code 137; restarted 3 times` */
function waitOf({ state, lastState, restartCount }: V1ContainerStatus): string | undefined {
  const { waiting } = state ?? {};
  // What every container goes through on its way up is no reason.
  const words =
    waiting?.reason === 'ContainerCreating' || waiting?.reason === 'PodInitializing'
      ? undefined
      : joined([waiting?.reason, waiting?.message]);
  const end = endOf(lastState?.terminated ?? state?.terminated);
  const ended = end === undefined ? undefined : `ended before: ${end}`;
  const restarts =
    restartCount > 0 ? `restarted ${restartCount} time${restartCount === 1 ? '' : 's'}` : undefined;
  const parts = [words, ended, restarts].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : parts.join('; ');
}

function endOf(
  terminated: { readonly reason?: string; readonly message?: string; readonly exitCode: number } | undefined,
): string | undefined {
  if (terminated === undefined) return undefined;
  return [terminated.reason, terminated.message, `exit code ${terminated.exitCode}`]
    .filter((part) => part !== undefined && part !== '')
    .join(', ');
}

function joined(parts: readonly (string | undefined)[]): string | undefined {
  const known = parts.filter((part) => part !== undefined && part !== '');
  return known.length === 0 ? undefined : known.join(': ');
}

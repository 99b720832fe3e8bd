// What a scheduler and a kubelet would write into the status of a Pod.

export type PodBehaviour =
  | 'ready'
  /** On its way for ever: no word on why. */
  | 'pending'
  | 'unschedulable'
  | 'image-pull'
  /** Killed for its memory again and again. */
  | 'crash-loop'
  /** It runs, and its probe fails. */
  | 'not-ready'
  | 'evicted'
  | 'completed';

const IMAGE = 'openclaw';

/** `sinceMs`: when it was created. A Pod that becomes ready does so after `startMs`. */
export function podStatus(
  behaviour: PodBehaviour,
  { sinceMs, startMs, container }: { sinceMs: number; startMs: number; container: string },
): Record<string, unknown> {
  const at = stamp(sinceMs);
  const condition = (type: string, status: 'True' | 'False', more: object = {}): object => ({
    type,
    status,
    lastProbeTime: null,
    lastTransitionTime: at,
    ...more,
  });
  const scheduled = condition('PodScheduled', 'True');
  const containerStatus = (state: object, more: object = {}): object => ({
    name: container,
    image: IMAGE,
    imageID: '',
    ready: false,
    started: false,
    restartCount: 0,
    state,
    lastState: {},
    ...more,
  });
  const notReady = condition('Ready', 'False', {
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${container}]`,
  });
  const common = { qosClass: 'Burstable', startTime: at };
  const coming = (state: object, more: object = {}): Record<string, unknown> => ({
    ...common,
    phase: 'Pending',
    conditions: [condition('Initialized', 'True'), notReady, scheduled],
    containerStatuses: [containerStatus(state, more)],
  });
  const statuses: Readonly<Record<PodBehaviour, () => Record<string, unknown>>> = {
    ready: () => {
      if (Date.now() - sinceMs < startMs) return coming({ waiting: { reason: 'ContainerCreating' } });
      return {
        ...common,
        phase: 'Running',
        podIP: '10.42.0.7',
        hostIP: '10.0.0.1',
        conditions: [
          condition('Initialized', 'True'),
          condition('Ready', 'True'),
          condition('ContainersReady', 'True'),
          scheduled,
        ],
        containerStatuses: [containerStatus({ running: { startedAt: at } }, { ready: true, started: true })],
      };
    },
    pending: () => {
      return coming({ waiting: { reason: 'ContainerCreating' } });
    },
    unschedulable: () => {
      return {
        phase: 'Pending',
        qosClass: 'Burstable',
        conditions: [
          condition('PodScheduled', 'False', {
            reason: 'Unschedulable',
            message: '0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available.',
          }),
        ],
      };
    },
    'image-pull': () => {
      return coming({
        waiting: {
          reason: 'ImagePullBackOff',
          message: 'Back-off pulling image "registry/openclaw:nope"',
        },
      });
    },
    'crash-loop': () => {
      return {
        ...coming(
          {
            waiting: {
              reason: 'CrashLoopBackOff',
              message: `back-off 40s restarting failed container=${container}`,
            },
          },
          {
            restartCount: 3,
            lastState: { terminated: { exitCode: 137, reason: 'OOMKilled', startedAt: at, finishedAt: at } },
          },
        ),
        phase: 'Running',
      };
    },
    'not-ready': () => {
      return { ...coming({ running: { startedAt: at } }, { started: true }), phase: 'Running' };
    },
    evicted: () => {
      return {
        phase: 'Failed',
        qosClass: 'Burstable',
        reason: 'Evicted',
        message: 'The node was low on resource: memory. ',
        conditions: [notReady],
      };
    },
    completed: () => {
      return {
        ...coming({ terminated: { exitCode: 0, reason: 'Completed', startedAt: at, finishedAt: at } }),
        phase: 'Succeeded',
      };
    },
  };
  return statuses[behaviour]();
}

/** Times of Kubernetes have whole seconds: `2026-11-21T10:00:00Z`. */
export function stamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

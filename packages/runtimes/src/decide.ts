// What is to be done about a user's runtime, given what the database says and what the cluster shows. No effects: the
// same function serves the reconciler, its dry run, and whoever asks why.

import type { SeenPod, SeenService } from './cluster.ts';
import type { RuntimeRow, RuntimeState } from './runtime-row.ts';

export interface Rules {
  /** A runtime that is not ready after so long is an error. */
  readonly startTimeoutMs: number;
  /** A runtime that was not used for so long is stopped. */
  readonly idleTimeoutMs: number;
  /**
   * A create whose answer was lost may take effect for so long: until then an absent Pod may still come, and its place is
   * kept. API servers end a request of their own accord after 60 s.
   */
  readonly settleMs: number;
}

export type Decision =
  | { readonly act: 'wait'; readonly reason: string }
  | { readonly act: 'create-pod'; readonly reason: string }
  | { readonly act: 'create-service'; readonly reason: string }
  | { readonly act: 'delete'; readonly object: SeenPod | SeenService; readonly reason: string }
  /** The Pod of this start is there: that it was created is no longer in question. */
  | { readonly act: 'know'; readonly pod: SeenPod; readonly reason: string }
  | { readonly act: 'note'; readonly reason: string }
  | { readonly act: 'run'; readonly reason: string }
  | { readonly act: 'fail'; readonly reason: string }
  /** As above, if a look at the Pod itself confirms that it is not there. */
  | { readonly act: 'fail-if-gone'; readonly reason: string }
  | { readonly act: 'stop-idle'; readonly reason: string }
  /** Nothing of it was listed: gone for good, if a look at both objects confirms it. */
  | { readonly act: 'gone'; readonly reason: string };

export interface Sight {
  readonly row: RuntimeRow;
  readonly pod: SeenPod | undefined;
  readonly service: SeenService | undefined;
}

/** One decision, or several that may be carried out in this order. Never none. */
export function decide(sight: Sight, rules: Rules): readonly Decision[] {
  return BY_STATE[sight.row.state](sight, rules);
}

const BY_STATE: Readonly<Record<RuntimeState, (sight: Sight, rules: Rules) => readonly Decision[]>> = {
  starting,
  running,
  stopping: leaving,
  // While it has a place something of it may be in the cluster.
  error: (sight, rules) => (sight.row.placed ? leaving(sight, rules) : atRest()),
  stopped: atRest,
};

function atRest(): readonly Decision[] {
  return [{ act: 'wait', reason: 'nothing is wished of it' }];
}

function starting({ row, pod, service }: Sight, rules: Rules): readonly Decision[] {
  const waitedMs = row.placedForMs ?? row.requestedForMs;
  if (waitedMs > rules.startTimeoutMs) {
    const why = !row.placed
      ? 'no place was free'
      : pod === undefined || pod.startId !== row.startId
        ? row.reason
        : pod.condition.is === 'not-ready'
          ? pod.condition.reason
          : 'it became ready too late';
    return [{ act: 'fail', reason: `not ready within ${seconds(rules.startTimeoutMs)}: ${why}` }];
  }
  if (!row.placed) return [{ act: 'wait', reason: 'no place is free' }];
  if (pod === undefined) return [{ act: 'create-pod', reason: 'it is to start, and has no Pod' }];
  if (pod.startId !== row.startId) {
    return [
      pod.deleting
        ? { act: 'wait', reason: 'the Pod of an earlier start is still there' }
        : { act: 'delete', object: pod, reason: 'it is the Pod of an earlier start' },
    ];
  }
  if (pod.deleting) return [{ act: 'fail', reason: 'its Pod was deleted by somebody else' }];
  if (pod.condition.is === 'ended') {
    return [{ act: 'fail', reason: `its Pod ended before it was ready: ${pod.condition.reason}` }];
  }
  const known: readonly Decision[] =
    row.podUid === pod.uid ? [] : [{ act: 'know', pod, reason: 'its Pod has been created' }];
  const serving = servingOf(row, service);
  if (serving !== undefined) return [...known, serving];
  if (pod.condition.is === 'ready') return [{ act: 'run', reason: 'its Pod is ready' }];
  if (known.length > 0) return known;
  const { reason } = pod.condition;
  return [reason === row.reason ? { act: 'wait', reason } : { act: 'note', reason }];
}

function running({ row, pod, service }: Sight, rules: Rules): readonly Decision[] {
  if (pod === undefined)
    return [{ act: 'fail-if-gone', reason: 'its Pod is gone, and nobody asked for that' }];
  if (pod.startId !== row.startId) return [{ act: 'fail', reason: 'its Pod was replaced by another' }];
  if (pod.deleting) return [{ act: 'fail', reason: 'its Pod was deleted by somebody else' }];
  const { condition } = pod;
  if (condition.is === 'ended') return [{ act: 'fail', reason: `its Pod has ended: ${condition.reason}` }];
  if (condition.is === 'not-ready' && condition.crashing) {
    return [{ act: 'fail', reason: `it crashes again and again: ${condition.reason}` }];
  }
  if (condition.is === 'not-ready' && lastedMs(condition.sinceMs) > rules.startTimeoutMs) {
    return [{ act: 'fail', reason: `not ready for ${seconds(rules.startTimeoutMs)}: ${condition.reason}` }];
  }
  if (row.idleForMs !== null && row.idleForMs > rules.idleTimeoutMs) {
    return [{ act: 'stop-idle', reason: `not used for ${seconds(row.idleForMs)}` }];
  }
  return [servingOf(row, service) ?? { act: 'wait', reason: 'it is in use' }];
}

/** Of one that is to be in no state but gone. */
function leaving({ row, pod, service }: Sight, { settleMs }: Rules): readonly Decision[] {
  const present = [pod, service].filter((object) => object !== undefined);
  const deletions = present
    .filter(({ deleting }) => !deleting)
    .map((object): Decision => ({ act: 'delete', object, reason: row.reason }));
  // A create that was in question has been answered; without this its place would be kept for longer than it takes.
  const known: readonly Decision[] =
    pod !== undefined && pod.startId === row.startId && row.podUid !== pod.uid
      ? [{ act: 'know', pod, reason: 'its Pod has been created' }]
      : [];
  if (present.length > 0) {
    return deletions.length + known.length > 0
      ? [...known, ...deletions]
      : [{ act: 'wait', reason: `${present.map(({ kind }) => kind).join(' and ')} on the way out` }];
  }
  if (row.createUnknownForMs !== null && row.createUnknownForMs < settleMs) {
    return [{ act: 'wait', reason: 'a Pod was asked for, the answer was lost, and it may still come' }];
  }
  return [{ act: 'gone', reason: row.reason }];
}

function servingOf(row: RuntimeRow, service: SeenService | undefined): Decision | undefined {
  if (service === undefined) return { act: 'create-service', reason: 'it has no Service' };
  if (service.deleting) return { act: 'wait', reason: 'its Service is on the way out' };
  // One of an earlier start selects the same Pod, but it may be about to be deleted as that of the earlier start.
  if (service.startId !== row.startId) {
    return { act: 'delete', object: service, reason: 'it is the Service of an earlier start' };
  }
  return undefined;
}

/** The kubelet's clock against ours: good enough for minutes. */
function lastedMs(sinceMs: number | undefined): number {
  return sinceMs === undefined ? 0 : Date.now() - sinceMs;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}

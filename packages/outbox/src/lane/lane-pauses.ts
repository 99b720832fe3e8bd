// The gauge of a group's pause, where several lanes of it are read: the group is paused while any of them is.

import type { OutboxMetrics } from '../outbox-metrics.ts';

export type PausedGauge = OutboxMetrics['paused'];

/** Makes, for each lane, what its reader takes for the gauge of the group. */
export function lanePauses(gauge: PausedGauge): (lane: number) => PausedGauge {
  const pausedLanes = new Map<number, boolean>();
  const show = (group: string): void => {
    if (pausedLanes.size === 0) gauge.remove(group);
    else gauge.set(group, [...pausedLanes.values()].includes(true));
  };
  return (lane) => ({
    set(group, paused): void {
      pausedLanes.set(lane, paused);
      show(group);
    },
    remove(group): void {
      pausedLanes.delete(lane);
      show(group);
    },
  });
}

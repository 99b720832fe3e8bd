// Prometheus families of the log. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { deliveryLag } from './deliver/delivery-lag.ts';
import type { DeliveryLag } from './deliver/delivery-lag.ts';
import type { GroupStatus } from './group/group-status.ts';

export interface OutboxMetrics {
  readonly deliveryLag: DeliveryLag;
  /** Whether a group pauses because its sink is away, as the process knows it that reads the group. */
  readonly paused: {
    set(group: string, paused: boolean): void;
    /** The group is read here no longer. */
    remove(group: string): void;
  };
  /** Sets the gauges of all groups, and removes those of groups that are gone. For one process at a time. */
  setGroups(statuses: readonly GroupStatus[], state: GroupsState): void;
  /** Another process sets them from now on, or nobody can. */
  clearGroups(): void;
}

export interface GroupsState {
  /** The groups that hold the log back beyond the retention limit. */
  readonly blocked: readonly string[];
  /** When the figures were taken, in milliseconds since 1970. */
  readonly atMs: number;
}

export function outboxMetrics(registry: Registry): OutboxMetrics {
  const registers = [registry];
  const lag = new Gauge({
    name: 'outbox_lag_events',
    help: 'Events that a consumer group has not delivered yet.',
    labelNames: ['group'],
    registers,
  });
  const oldestAge = new Gauge({
    name: 'outbox_oldest_undelivered_age_seconds',
    help: 'Age of the oldest event that a consumer group has not delivered, 0 when there is none.',
    labelNames: ['group'],
    registers,
  });
  const paused = new Gauge({
    name: 'outbox_group_paused',
    help: '1 while a consumer group pauses because its sink is away, else 0.',
    labelNames: ['group'],
    registers,
  });
  const retentionBlocked = new Gauge({
    name: 'outbox_retention_blocked',
    help: '1 while a consumer group holds the log back beyond the retention limit, else 0.',
    labelNames: ['group'],
    registers,
  });
  const parked = new Gauge({
    name: 'outbox_parked_events',
    help: 'Failed events that a consumer group tries again, and those that wait behind one of their key.',
    labelNames: ['group'],
    registers,
  });
  const dead = new Gauge({
    name: 'outbox_dead_letters',
    help: 'Failed events of a consumer group that wait for a person to replay or discard them.',
    labelNames: ['group'],
    registers,
  });
  const oldestDeadAge = new Gauge({
    name: 'outbox_oldest_dead_letter_age_seconds',
    help: 'Since the oldest dead letter of a consumer group failed last, 0 when there is none.',
    labelNames: ['group'],
    registers,
  });
  const statsTimestamp = new Gauge({
    name: 'outbox_stats_timestamp_seconds',
    help: 'When the gauges of all groups were set, by the one process that sets them.',
    registers,
  });
  function clearGroups(): void {
    for (const gauge of [lag, oldestAge, retentionBlocked, parked, dead, oldestDeadAge]) gauge.reset();
    // Reset would leave a 0 behind: a gauge without labels always has its one series.
    statsTimestamp.remove();
  }
  clearGroups();
  return {
    deliveryLag: deliveryLag(registry),
    paused: {
      set: (group, isPaused) => paused.set({ group }, isPaused ? 1 : 0),
      remove: (group) => paused.remove({ group }),
    },
    clearGroups,
    setGroups(statuses, { blocked, atMs }): void {
      clearGroups();
      statsTimestamp.set(atMs / 1_000);
      for (const group of new Set(statuses.map((status) => status.group))) {
        const lanes = statuses.filter((status) => status.group === group);
        lag.set({ group }, sum(lanes.map((lane) => lane.lag)));
        oldestAge.set({ group }, Math.max(...lanes.map((lane) => lane.oldestAgeSeconds)));
        retentionBlocked.set({ group }, blocked.includes(group) ? 1 : 0);
        parked.set({ group }, sum(lanes.map((lane) => lane.parked)));
        dead.set({ group }, sum(lanes.map((lane) => lane.dead)));
        oldestDeadAge.set({ group }, Math.max(...lanes.map((lane) => lane.oldestDeadAgeSeconds)));
      }
    },
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

// Prometheus families of the log. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { deliveryLag } from './delivery-lag.ts';
import type { DeliveryLag } from './delivery-lag.ts';
import type { GroupStatus } from './group-status.ts';

export interface OutboxMetrics {
  readonly deliveryLag: DeliveryLag;
  /** Sets the gauges of the groups that this process reads, and removes those of groups it no longer does. */
  setGroups(statuses: readonly GroupStatus[]): void;
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
  return {
    deliveryLag: deliveryLag(registry),
    setGroups(statuses): void {
      lag.reset();
      oldestAge.reset();
      for (const group of new Set(statuses.map((status) => status.group))) {
        const lanes = statuses.filter((status) => status.group === group);
        lag.set({ group }, sum(lanes.map((lane) => lane.lag)));
        oldestAge.set({ group }, Math.max(...lanes.map((lane) => lane.oldestAgeSeconds)));
      }
    },
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

// Prometheus families of the log. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { GroupStatus } from './group-status.ts';

export interface OutboxMetrics {
  /** From writing an event to its delivery, on the database's clock, in seconds. */
  readonly deliveryLag: Histogram<'group'>;
  /** Sets the gauges of the groups that this process reads, and removes those of groups it no longer does. */
  setGroups(statuses: readonly GroupStatus[]): void;
}

/** 30 s is the bound of the delivery objective. */
const DELIVERY_LAG_BUCKETS = [0.005, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600];

export function outboxMetrics(registry: Registry): OutboxMetrics {
  const registers = [registry];
  const deliveryLag = new Histogram({
    name: 'outbox_delivery_lag_seconds',
    help: 'Time from writing an event to its delivery, on the clock of the database.',
    labelNames: ['group'],
    buckets: DELIVERY_LAG_BUCKETS,
    registers,
  });
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
    deliveryLag,
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

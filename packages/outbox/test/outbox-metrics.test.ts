import { createRegistry } from '@pulsebox/loop';
import { documentedFamilies, servedFamilies } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import type { OutboxEvent } from '../src/log/event.ts';
import type { GroupStatus } from '../src/group/group-status.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';

const status: GroupStatus = {
  group: 'search',
  lane: 0,
  lanes: 1,
  wishedLanes: null,
  position: 10,
  lag: 3,
  oldestAgeSeconds: 1.5,
  delivered: 7,
  fencingToken: 1,
  holder: 'me',
  leaseSeconds: 10,
  storedAt: '2026-01-01T00:00:00.000Z',
  paused: null,
  parked: 5,
  dead: 2,
  oldestDeadAgeSeconds: 60,
};

const state = { blocked: [], atMs: 1_000_000 };

test('docs/metrics.md and the code name the same families, types and labels', async () => {
  const registry = createRegistry();
  const metrics = outboxMetrics(registry);
  metrics.setGroups([status], state);
  metrics.deliveryLag.announce('search');
  metrics.paused.set('search', false);
  expect(documentedFamilies('packages/outbox')).toEqual(await servedFamilies(registry));
});

test('lanes of a group are one series: their lag is added up, the oldest event is the oldest of all', async () => {
  const registry = createRegistry();
  const { setGroups } = outboxMetrics(registry);
  setGroups(
    [
      status,
      { ...status, lane: 1, lag: 4, oldestAgeSeconds: 9, dead: 0, oldestDeadAgeSeconds: 0 },
      { ...status, group: 'push', lag: 0 },
    ],
    { ...state, blocked: ['search'] },
  );
  const text = await registry.metrics();
  expect(text).toContain('outbox_lag_events{group="search"} 7');
  expect(text).toContain('outbox_oldest_undelivered_age_seconds{group="search"} 9');
  expect(text).toContain('outbox_parked_events{group="search"} 10');
  expect(text).toContain('outbox_dead_letters{group="search"} 2');
  expect(text).toContain('outbox_oldest_dead_letter_age_seconds{group="search"} 60');
  expect(text).toContain('outbox_lag_events{group="push"} 0');
  expect(text).toContain('outbox_retention_blocked{group="search"} 1');
  expect(text).toContain('outbox_retention_blocked{group="push"} 0');
  expect(text).toContain('outbox_stats_timestamp_seconds 1000');
});

test('a group that is gone has no series any more, and neither has a process that was not elected', async () => {
  const registry = createRegistry();
  const { setGroups, clearGroups } = outboxMetrics(registry);
  setGroups([status], state);
  setGroups([], state);
  expect(await registry.metrics()).not.toContain('group="search"');
  setGroups([status], state);
  clearGroups();
  expect(await registry.metrics()).not.toMatch(/^outbox_(lag|oldest|retention|stats|parked|dead)/m);
});

test('delivery lag is counted into cumulative buckets, whatever the order of the events', async () => {
  const registry = createRegistry();
  const { deliveryLag } = outboxMetrics(registry);
  const nowMs = 1_000_000_000;
  const aged = (seconds: number): OutboxEvent => ({
    position: 1,
    topic: 'item.upserted',
    key: null,
    payload: {},
    headers: {},
    createdAt: new Date(nowMs - seconds * 1_000),
  });
  // On a bound, between two, above all, and in the future (another clock): that one counts as no lag.
  deliveryLag.observe('search', [aged(0.05), aged(5_000), aged(0.2), aged(30), aged(-3)], nowMs);
  const text = await registry.metrics();
  const buckets = [...text.matchAll(/_bucket\{le="([^"]+)",group="search"\} (\d+)/g)].map(
    ([, le, n]) => `${le}: ${n}`,
  );
  expect(buckets.join(', ')).toBe(
    '0.005: 1, 0.05: 2, 0.1: 2, 0.25: 3, 0.5: 3, 1: 3, 2.5: 3, 5: 3, 10: 3, 30: 4, 60: 4, 300: 4, 900: 4, 3600: 4, +Inf: 5',
  );
  expect(text).toContain('outbox_delivery_lag_seconds_count{group="search"} 5');
  expect(text).toMatch(/outbox_delivery_lag_seconds_sum\{group="search"\} 5030\.25/);
});

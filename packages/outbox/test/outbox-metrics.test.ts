import { readFileSync } from 'node:fs';
import { createRegistry } from '@pulsebox/loop';
import { createTestDatabase, eventually } from '@pulsebox/test-support';
import { expect, inject, test } from 'vitest';
import { emit } from '../src/emit.ts';
import type { OutboxEvent } from '../src/event.ts';
import type { GroupStatus } from '../src/group-status.ts';
import { housekeeping } from '../src/housekeeping.ts';
import { outboxMetrics } from '../src/outbox-metrics.ts';
import { quiet, runRelay } from './relay-runner.ts';

const status: GroupStatus = {
  group: 'search',
  lane: 0,
  position: 10,
  lag: 3,
  oldestAgeSeconds: 1.5,
  delivered: 7,
  fencingToken: 1,
  holder: 'me',
  leaseSeconds: 10,
  storedAt: '2026-01-01T00:00:00.000Z',
};

test('docs/metrics.md and the code name the same families, types and labels', async () => {
  const registry = createRegistry();
  const metrics = outboxMetrics(registry);
  metrics.setGroups([status]);
  metrics.deliveryLag.announce('search');
  const served = Object.fromEntries(
    (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
      const labels = new Set(values.flatMap((value) => Object.keys(value.labels)));
      labels.delete('le');
      return [name, { type: String(type), labels: [...labels].toSorted() }];
    }),
  );
  const docs = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith('packages/outbox\n')) ?? '';
  const rows = section.matchAll(/^\| `(\w+)` +\| (\w+) +\| ([^|]*)\|/gm);
  const documented = Object.fromEntries(
    [...rows].map(([, name = '', type = '', labels = '']) => [
      name,
      { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label).toSorted() },
    ]),
  );
  expect(documented).toEqual(served);
});

test('lanes of a group are one series: their lag is added up, the oldest event is the oldest of all', async () => {
  const registry = createRegistry();
  const { setGroups } = outboxMetrics(registry);
  setGroups([
    status,
    { ...status, lane: 1, lag: 4, oldestAgeSeconds: 9 },
    { ...status, group: 'push', lag: 0 },
  ]);
  const text = await registry.metrics();
  expect(text).toContain('outbox_lag_events{group="search"} 7');
  expect(text).toContain('outbox_oldest_undelivered_age_seconds{group="search"} 9');
  expect(text).toContain('outbox_lag_events{group="push"} 0');
});

test('a group that this process reads no longer has no series here', async () => {
  const registry = createRegistry();
  const { setGroups } = outboxMetrics(registry);
  setGroups([status]);
  setGroups([]);
  expect(await registry.metrics()).not.toContain('group="search"');
});

test('housekeeping sets the gauges of the groups that its holder reads, and of no other', async () => {
  const database = await createTestDatabase(inject('serverUrl'));
  const registry = createRegistry();
  const mine = runRelay({ pool: database.pool, group: 'mine', holder: 'me' });
  const others = runRelay({ pool: database.pool, group: 'others', holder: 'somebody else' });
  try {
    await eventually(() => mine.ticks() > 0 && others.ticks() > 0);
    await emit(database.pool, { topic: 't', payload: 1 }, { autocommit: true });
    await eventually(() => mine.handled.length === 1);
    const loop = housekeeping({
      pool: database.pool,
      holder: 'me',
      metrics: outboxMetrics(registry),
      everyMs: 7,
    });
    const never = new AbortController().signal;
    const context = { signal: never, stopping: never, progress: (): void => undefined, log: quiet };
    expect(await loop.tick(context)).toEqual({ events: 0, nextInMs: 7 });
    await eventually(async () => {
      await loop.tick(context);
      return (await registry.metrics()).includes('outbox_lag_events{group="mine"} 0');
    });
    expect(await registry.metrics()).not.toContain('group="others"');
  } finally {
    await mine.stop();
    await others.stop();
    await database.drop();
  }
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
  expect(buckets).toEqual([
    ...['0.005: 1', '0.05: 2', '0.1: 2', '0.25: 3', '0.5: 3', '1: 3', '2.5: 3', '5: 3', '10: 3'],
    ...['30: 4', '60: 4', '300: 4', '900: 4', '3600: 4', '+Inf: 5'],
  ]);
  expect(text).toContain('outbox_delivery_lag_seconds_count{group="search"} 5');
  expect(text).toMatch(/outbox_delivery_lag_seconds_sum\{group="search"\} 5030\.25/);
});

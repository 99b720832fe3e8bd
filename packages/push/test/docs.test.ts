// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { readdirSync, readFileSync } from 'node:fs';
import { attemptOutcomes, pushErrorCodes, PushError, pushMetrics } from '@pulsebox/push';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

function sectionOf(page: string): string {
  const docs = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return docs.split(/^## /m).find((part) => part.startsWith('packages/push\n')) ?? '';
}

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const explained = [...sectionOf('errors.md').matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  expect(explained.toSorted()).toEqual(pushErrorCodes.toSorted());
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'push-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(
    sources.flatMap((text) => [...text.matchAll(/'(PUSH_\w+)'/g)].map(([, code]) => code)),
  );
  expect([...used].toSorted()).toEqual(pushErrorCodes.toSorted());
});

test('docs/metrics.md lists every family with its type and labels, and every outcome, and no other family', async () => {
  const registry = new Registry();
  const metrics = pushMetrics(registry);
  for (const outcome of attemptOutcomes) metrics.deliveries.inc({ service: 'fcm', outcome });
  metrics.expired.inc({ service: 'fcm' });
  metrics.latency.observe({ service: 'fcm' }, 1);
  metrics.breakersOpen.set({ service: 'fcm' }, 0);
  metrics.denied.set({ service: 'fcm' }, 0);
  const families = (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le');
    return `${name} ${String(type)} ${labels.toSorted().join(' ')}`;
  });
  const section = sectionOf('metrics.md');
  const rows = section.matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?) ?\|/gm);
  const documented = [...rows].map(([, name, type, labels = '']) => {
    const named = [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label);
    return `${name} ${type} ${named.toSorted().join(' ')}`;
  });
  expect(documented.toSorted()).toEqual(families.toSorted());
  for (const outcome of attemptOutcomes) expect(section).toContain(`\`${outcome}\``);
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new PushError('PUSH_MESSAGE_INVALID', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'PushError',
    hint: 'do',
    cause,
  });
});

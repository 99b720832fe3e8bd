// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { readdirSync, readFileSync } from 'node:fs';
import { runtimesErrorCodes, RuntimesError, runtimesMetrics } from '@pulsebox/runtimes';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

function sectionOf(page: string): string {
  const docs = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return docs.split(/^## /m).find((part) => part.startsWith('packages/runtimes\n')) ?? '';
}

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const explained = [...sectionOf('errors.md').matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  expect(explained).toEqual(runtimesErrorCodes);
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'runtimes-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
    .join('\n');
  for (const code of runtimesErrorCodes) expect(sources, code).toContain(`'${code}'`);
});

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  const metrics = runtimesMetrics(registry);
  metrics.runtimes.set({ state: 'running' }, 0);
  metrics.requestDuration.observe({ verb: 'get' }, 0);
  const families = (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le');
    return `${name} ${String(type)} ${labels.join(' ')}`;
  });
  const rows = sectionOf('metrics.md').matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?)\|/gm);
  const documented = [...rows].map(([, name, type, labels = '']) => {
    return `${name} ${type} ${[...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).join(' ')}`;
  });
  expect(documented.toSorted()).toEqual(families.toSorted());
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new RuntimesError('RUNTIMES_API_AWAY', 'no', { hint: 'do', cause, status: 500 })).toMatchObject({
    name: 'RuntimesError',
    hint: 'do',
    status: 500,
    cause,
  });
});

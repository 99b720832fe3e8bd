// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { readdirSync, readFileSync } from 'node:fs';
import { searchErrorCodes, searchMetrics, SearchError, skipReasons } from '@pulsebox/search';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

function sectionOf(page: string): string {
  const docs = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return docs.split(/^## /m).find((part) => part.startsWith('packages/search\n')) ?? '';
}

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const explained = [...sectionOf('errors.md').matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  expect(explained.toSorted()).toEqual(searchErrorCodes.toSorted());
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'search-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(
    sources.flatMap((text) => [...text.matchAll(/'(SEARCH_\w+)'/g)].map(([, code]) => code)),
  );
  expect([...used].toSorted()).toEqual(searchErrorCodes.toSorted());
});

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  const metrics = searchMetrics(registry);
  metrics.documents.inc({ projection: 'items', operation: 'upserted' });
  for (const reason of skipReasons) metrics.skipped.inc({ reason });
  metrics.duration.observe({ engine: 'postgres', operation: 'sync' }, 1);
  const families = (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le');
    return `${name} ${String(type)} ${labels.toSorted().join(' ')}`;
  });
  const rows = sectionOf('metrics.md').matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?) \|/gm);
  const documented = [...rows].map(([, name, type, labels = '']) => {
    return `${name} ${type} ${[...labels.matchAll(/`(\w+)`/g)]
      .map(([, label]) => label)
      .toSorted()
      .join(' ')}`;
  });
  expect(documented.toSorted()).toEqual(families.toSorted());
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new SearchError('SEARCH_FENCED', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'SearchError',
    hint: 'do',
    cause,
  });
});

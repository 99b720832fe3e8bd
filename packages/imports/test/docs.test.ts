// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { readdirSync, readFileSync } from 'node:fs';
import { ImportsError, importsErrorCodes, importsMetrics, rowOutcomes, runOutcomes } from '@pulsebox/imports';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const byName = (a = '', b = '') => a.localeCompare(b);

function sectionOf(page: string): string {
  const docs = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return docs.split(/^## /m).find((part) => part.startsWith('packages/imports\n')) ?? '';
}

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const explained = [...sectionOf('errors.md').matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  expect(explained).toEqual([...importsErrorCodes]);
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'imports-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  for (const code of importsErrorCodes) expect(sources.join('\n')).toContain(`'${code}'`);
});

test('docs/metrics.md lists every family with its type and labels, and every outcome, and no other family', async () => {
  const registry = new Registry();
  const metrics = importsMetrics(registry);
  for (const outcome of rowOutcomes) metrics.rows.inc({ outcome });
  for (const outcome of runOutcomes) metrics.runs.inc({ outcome });
  metrics.open.set({ state: 'queued' }, 1);
  const families = (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).filter((label) => label !== 'le');
    return `${name} ${String(type)} ${labels.toSorted().join(' ')}`;
  });
  const section = sectionOf('metrics.md');
  const rows = section.matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?) ?\|/gm);
  const documented = [...rows].map(([, name, type, labels = '']) => {
    const named = [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label);
    return `${name} ${type} ${named.toSorted(byName).join(' ')}`;
  });
  expect(documented.toSorted()).toEqual(families.toSorted());
  for (const outcome of [...rowOutcomes, ...runOutcomes]) expect(section).toContain(`\`${outcome}\``);
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new ImportsError('IMPORTS_FILE_BROKEN', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'ImportsError',
    hint: 'do',
    cause,
  });
});

// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { readdirSync, readFileSync } from 'node:fs';
import { GmailError, gmailErrorCodes, gmailMetrics, requestOutcomes, syncOutcomes } from '@pulsebox/gmail';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const byName = (a = '', b = '') => a.localeCompare(b);

function sectionOf(page: string): string {
  const docs = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return docs.split(/^## /m).find((part) => part.startsWith('packages/gmail\n')) ?? '';
}

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const explained = [...sectionOf('errors.md').matchAll(/^### `(\w+)`$/gm)].map(([, code]) => code);
  expect(explained.toSorted(byName)).toEqual(gmailErrorCodes.toSorted(byName));
});

test('every code is used', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'gmail-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(sources.flatMap((text) => text.match(/GMAIL_[A-Z_]*[A-Z]/g) ?? []));
  for (const code of gmailErrorCodes) expect(used).toContain(code);
});

test('docs/metrics.md lists every family with its type, its labels and their values, and no other', async () => {
  const registry = new Registry();
  const metrics = gmailMetrics(registry);
  for (const outcome of requestOutcomes) metrics.requests.inc({ method: 'history', outcome });
  for (const outcome of syncOutcomes) metrics.syncs.inc({ kind: 'full', outcome });
  metrics.requestDuration.observe({ method: 'history' }, 1);
  metrics.messages.inc({ operation: 'stored' });
  metrics.watches.inc({ outcome: 'renewed' });
  metrics.connections.set({ state: 'active' }, 1);
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
  for (const outcome of [...requestOutcomes, ...syncOutcomes]) expect(section).toContain(`\`${outcome}\``);
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new GmailError('GMAIL_AWAY', 'no', { hint: 'do', cause, retryAfterMs: 5 })).toMatchObject({
    name: 'GmailError',
    hint: 'do',
    cause,
    retryAfterMs: 5,
  });
});

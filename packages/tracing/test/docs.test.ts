// What docs/metrics.md says of this package is what the code has, in both directions.

import { documentedFamilies, servedFamilies } from '@pulsebox/test-support';
import { tracingMetrics } from '@pulsebox/tracing';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  tracingMetrics(registry);
  expect(documentedFamilies('packages/tracing')).toEqual(await servedFamilies(registry));
});

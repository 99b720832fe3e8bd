// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { runtimesErrorCodes, RuntimesError, runtimesMetrics } from '@pulsebox/runtimes';
import { documentedFamilies, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/runtimes';

testErrorCodes({ room, prefix: 'RUNTIMES', codes: runtimesErrorCodes });

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  const metrics = runtimesMetrics(registry);
  metrics.runtimes.set({ state: 'running' }, 0);
  metrics.requestDuration.observe({ verb: 'get' }, 0);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
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

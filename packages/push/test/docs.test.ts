// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { attemptOutcomes, pushErrorCodes, PushError, pushMetrics } from '@pulsebox/push';
import { documentedFamilies, sectionOf, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/push';

testErrorCodes({ room, prefix: 'PUSH', codes: pushErrorCodes });

test('docs/metrics.md lists every family with its type and labels, and every outcome, and no other family', async () => {
  const registry = new Registry();
  const metrics = pushMetrics(registry);
  for (const outcome of attemptOutcomes) metrics.deliveries.inc({ service: 'fcm', outcome });
  metrics.expired.inc({ service: 'fcm' });
  metrics.latency.observe({ service: 'fcm' }, 1);
  metrics.breakersOpen.set({ service: 'fcm' }, 0);
  metrics.denied.set({ service: 'fcm' }, 0);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
  const section = sectionOf('metrics.md', room);
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

// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { bridgeMetrics, pubsubErrorCodes, PubSubError, pullMetrics } from '@pulsebox/pubsub';
import { documentedFamilies, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/pubsub';

testErrorCodes({ room, prefix: 'PUBSUB', codes: pubsubErrorCodes });

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  pullMetrics(registry);
  bridgeMetrics(registry);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new PubSubError('PUBSUB_NAME_INVALID', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'PubSubError',
    hint: 'do',
    cause,
  });
});

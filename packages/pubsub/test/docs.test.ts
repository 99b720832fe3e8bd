// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { bridgeMetrics, pubsubErrorCodes, PubSubError, pullMetrics } from '@pulsebox/pubsub';
import { documentedFamilies, explainedCodes, servedFamilies, usedCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/pubsub';
const codes = pubsubErrorCodes.toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'PUBSUB')).toEqual(codes);
});

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

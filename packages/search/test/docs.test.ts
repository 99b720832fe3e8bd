// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { searchErrorCodes, searchMetrics, SearchError, skipReasons } from '@pulsebox/search';
import { documentedFamilies, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/search';

testErrorCodes({ room, prefix: 'SEARCH', codes: searchErrorCodes });

test('docs/metrics.md lists every family with its type and labels, and no other in its section', async () => {
  const registry = new Registry();
  const metrics = searchMetrics(registry);
  metrics.documents.inc({ projection: 'items', operation: 'upserted' });
  for (const reason of skipReasons) metrics.skipped.inc({ reason });
  metrics.duration.observe({ engine: 'postgres', operation: 'sync' }, 1);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
});

test('errors carry code, hint and cause', () => {
  const cause = new Error('why');
  expect(new SearchError('SEARCH_FENCED', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'SearchError',
    hint: 'do',
    cause,
  });
});

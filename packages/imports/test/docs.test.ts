// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { ImportsError, importsErrorCodes, importsMetrics, rowOutcomes, runOutcomes } from '@pulsebox/imports';
import { documentedFamilies, sectionOf, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/imports';

testErrorCodes({ room, prefix: 'IMPORTS', codes: importsErrorCodes });

test('docs/metrics.md lists every family with its type and labels, and every outcome, and no other family', async () => {
  const registry = new Registry();
  const metrics = importsMetrics(registry);
  for (const outcome of rowOutcomes) metrics.rows.inc({ outcome });
  for (const outcome of runOutcomes) metrics.runs.inc({ outcome });
  metrics.open.set({ state: 'queued' }, 1);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
  const section = sectionOf('metrics.md', room);
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

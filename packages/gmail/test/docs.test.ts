// What docs/errors.md and docs/metrics.md say of this package is what the code has, in both directions.

import { GmailError, gmailErrorCodes, gmailMetrics, requestOutcomes, syncOutcomes } from '@pulsebox/gmail';
import { documentedFamilies, sectionOf, servedFamilies, testErrorCodes } from '@pulsebox/test-support';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';

const room = 'packages/gmail';

testErrorCodes({ room, prefix: 'GMAIL', codes: gmailErrorCodes });

test('docs/metrics.md lists every family with its type, its labels and their values, and no other', async () => {
  const registry = new Registry();
  const metrics = gmailMetrics(registry);
  for (const outcome of requestOutcomes) metrics.requests.inc({ method: 'history', outcome });
  for (const outcome of syncOutcomes) metrics.syncs.inc({ kind: 'full', outcome });
  metrics.requestDuration.observe({ method: 'history' }, 1);
  metrics.messages.inc({ operation: 'stored' });
  metrics.watches.inc({ outcome: 'renewed' });
  metrics.connections.set({ state: 'active' }, 1);
  expect(documentedFamilies(room)).toEqual(await servedFamilies(registry));
  const section = sectionOf('metrics.md', room);
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

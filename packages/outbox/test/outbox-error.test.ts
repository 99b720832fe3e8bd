import { testErrorCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { OutboxError, outboxErrorCodes } from '../src/index.ts';

testErrorCodes({ room: 'packages/outbox', prefix: 'OUTBOX', codes: outboxErrorCodes });

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  const error = new OutboxError('OUTBOX_LEASE_LOST', 'no', { hint: 'do', cause });
  expect(error).toMatchObject({
    name: 'OutboxError',
    code: 'OUTBOX_LEASE_LOST',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new OutboxError('OUTBOX_LEASE_LOST', 'no', { hint: 'do' })).toBe(false);
});

import { explainedCodes, usedCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { OutboxError, outboxErrorCodes } from '../src/index.ts';

const room = 'packages/outbox';
const codes = outboxErrorCodes.toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'OUTBOX')).toEqual(codes);
});

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

import { explainedCodes, usedCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { PostgresError, postgresErrorCodes } from '../src/index.ts';

const room = 'packages/postgres';
const codes = postgresErrorCodes.toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'POSTGRES')).toEqual(codes);
});

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  const error = new PostgresError('POSTGRES_LEASE_EXPIRED', 'no', { hint: 'do', cause });
  expect(error).toMatchObject({
    name: 'PostgresError',
    code: 'POSTGRES_LEASE_EXPIRED',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new PostgresError('POSTGRES_LEASE_EXPIRED', 'no', { hint: 'do' })).toBe(false);
});

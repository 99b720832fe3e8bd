import { testErrorCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { PostgresError, postgresErrorCodes } from '../src/index.ts';

testErrorCodes({ room: 'packages/postgres', prefix: 'POSTGRES', codes: postgresErrorCodes });

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

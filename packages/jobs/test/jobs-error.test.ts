import { testErrorCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { JobsError, jobsErrorCodes } from '../src/index.ts';

testErrorCodes({ room: 'packages/jobs', prefix: 'JOBS', codes: jobsErrorCodes });

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  expect(new JobsError('JOBS_STOPPED', 'no', { hint: 'do', cause })).toMatchObject({
    name: 'JobsError',
    code: 'JOBS_STOPPED',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new JobsError('JOBS_STOPPED', 'no', { hint: 'do' })).toBe(false);
});

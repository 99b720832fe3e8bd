import { explainedCodes, usedCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { JobsError, jobsErrorCodes } from '../src/index.ts';

const room = 'packages/jobs';
const codes = jobsErrorCodes.toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'JOBS')).toEqual(codes);
});

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

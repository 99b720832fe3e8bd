import { testErrorCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { LoopError, loopErrorCodes } from '../src/index.ts';

testErrorCodes({ room: 'packages/loop', prefix: 'LOOP', codes: Object.keys(loopErrorCodes) });

test('an error carries code, hint and cause', () => {
  const cause = new Error('why');
  const error = new LoopError('LOOP_PORT_IN_USE', 'no', { hint: 'do', cause });
  expect(error).toMatchObject({
    name: 'LoopError',
    code: 'LOOP_PORT_IN_USE',
    message: 'no',
    hint: 'do',
    cause,
  });
  expect('cause' in new LoopError('LOOP_PORT_IN_USE', 'no')).toBe(false);
});

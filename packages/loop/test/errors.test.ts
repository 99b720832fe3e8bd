import { explainedCodes, usedCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { LoopError, loopErrorCodes } from '../src/index.ts';

const room = 'packages/loop';
const codes = Object.keys(loopErrorCodes).toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'LOOP')).toEqual(codes);
});

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

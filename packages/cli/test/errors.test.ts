import { explainedCodes, usedCodes } from '@pulsebox/test-support';
import { expect, test } from 'vitest';
import { cliErrorCodes } from '../src/cli-error.ts';

const room = 'packages/cli';
const codes = cliErrorCodes.toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  expect(explainedCodes(room)).toEqual(codes);
});

test('every code is used, and every code that is used is in the list', () => {
  expect(usedCodes(room, 'CLI')).toEqual(codes);
});

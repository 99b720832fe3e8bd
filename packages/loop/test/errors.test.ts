import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LoopError, loopErrorCodes } from '../src/index.ts';

const codes = Object.keys(loopErrorCodes).toSorted();

test('docs/errors.md explains every code of this package, and no other in its section', () => {
  const docs = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const section = docs.split(/^## /m).find((part) => part.startsWith('packages/loop\n')) ?? '';
  const explained = [...section.matchAll(/^### `(\w+)`$/gm)].map(([, code = '']) => code);
  expect(explained.toSorted()).toEqual(codes);
});

test('every code is used, and every code that is used is in the catalogue', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder)
    .filter((file) => file !== 'loop-error.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'));
  const used = new Set(
    sources.flatMap((text) => [...text.matchAll(/LoopError\(\s*'(\w+)'/g)].map(([, code = '']) => code)),
  );
  expect([...used].toSorted()).toEqual(codes);
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

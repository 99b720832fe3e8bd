import { parsePairs } from '@pulsebox/tracing';
import { expect, test } from 'vitest';

test.each([
  ['', {}],
  ['a=1', { a: '1' }],
  [' a = 1 , b=2,', { a: '1', b: '2' }],
  ['authorization=Bearer%20x%3Dy', { authorization: 'Bearer x=y' }],
  ['service.name=pulse=box', { 'service.name': 'pulse=box' }],
  ['empty=', { empty: '' }],
])('%j are pairs', (text, pairs) => {
  expect(parsePairs(text)).toEqual({ fault: false, pairs });
});

test.each([
  ['secret', 1],
  ['a=1,=secret', 2],
  ['a=1,b=%zz', 2],
  ['a b=secret', 1],
  ['a=1%0d%0ahost: evil', 1],
])('%j are not, and it is said which entry is none', (text, entry) => {
  expect(parsePairs(text)).toEqual({ fault: true, entry });
});

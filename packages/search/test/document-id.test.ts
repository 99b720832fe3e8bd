import { decodeId, encodeId, LONGEST_ID_BYTES } from '@pulsebox/search';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalId } from '../src/document-id.ts';

const id = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 400 })
  .filter((text) => Buffer.byteLength(text) <= LONGEST_ID_BYTES);

test('an id that Meilisearch takes stays as it is; any other becomes one it takes', () => {
  expect(encodeId('0b9a64f0-7d0e-4a8e-9d64-2f9f5f3a7a10')).toBe('0b9a64f0-7d0e-4a8e-9d64-2f9f5f3a7a10');
  expect(encodeId('a/b')).toBe('b64-YS9i');
  fc.assert(fc.property(id, (text) => /^[A-Za-z0-9_-]{1,511}$/.test(encodeId(text))));
});

test('an encoded id is decoded to what it was, and no two ids meet', () => {
  const looksEncoded = fc.string({ unit: fc.constantFrom('b', '6', '4', '-', 'Y', 'i', '_'), minLength: 1 });
  fc.assert(
    fc.property(fc.oneof(id, looksEncoded), fc.oneof(id, looksEncoded), (one, other) => {
      expect(decodeId(encodeId(one))).toBe(one);
      expect(encodeId(one) === encodeId(other)).toBe(one === other);
    }),
  );
});

test.each([
  ['uuid', '0B9A64F0-7D0E-4A8E-9D64-2F9F5F3A7A10', '0b9a64f0-7d0e-4a8e-9d64-2f9f5f3a7a10'],
  ['uuid', '0b9a64f0', undefined],
  ['uuid', 7, undefined],
  ['bigint', 7, '7'],
  ['bigint', '-9223372036854775808', '-9223372036854775808'],
  ['bigint', '9223372036854775808', undefined],
  ['bigint', '007', undefined],
  ['bigint', 1.5, undefined],
  ['integer', 2_147_483_647, '2147483647'],
  ['integer', 2_147_483_648, undefined],
  ['integer', '', undefined],
  ['text', 7, '7'],
  ['text', 'a b', 'a b'],
  ['text', '', undefined],
  ['text', 'x'.repeat(381), undefined],
  ['text', '\ud800', undefined],
  ['text', true, undefined],
  ['text', { id: 1 }, undefined],
  ['text', undefined, undefined],
] as const)('for a column of %s the payload’s %j names %j', (type, value, expected) => {
  expect(canonicalId(value, type)).toBe(expected);
});

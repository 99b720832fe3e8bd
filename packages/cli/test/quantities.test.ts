import { expect, test } from 'vitest';
import { bytes, count, duration, plural } from '../src/quantities.ts';

test.each([
  [0, '0 ms'],
  [0.0004, '1 ms'],
  [0.35, '350 ms'],
  [1.26, '1.3 s'],
  [42, '42 s'],
  [119, '119 s'],
  [300, '5 min'],
  [3 * 3_600 + 20 * 60, '3 h 20 min'],
  [2 * 86_400, '2 d'],
  [2 * 86_400 + 4 * 3_600, '2 d 4 h'],
])('shows %d seconds as %s', (seconds, shown) => {
  expect(duration(seconds)).toBe(shown);
});

test('shows sizes and counts', () => {
  expect([0, 812, 1_536, 5 * 1_024 ** 2, 40 * 1_024 ** 3].map(bytes)).toEqual([
    '0 B',
    '812 B',
    '1.5 kB',
    '5.0 MB',
    '40 GB',
  ]);
  expect([count(12_345), plural(1, 'event'), plural(0, 'event')]).toEqual(['12,345', '1 event', '0 events']);
});

import { expect, test } from 'vitest';
import { batchBytesFor } from '../src/batch-bytes.ts';

const MIB = 2 ** 20;

test('a batch holds a 32nd of the heap, half a MiB at least and 16 MiB at most', () => {
  expect(batchBytesFor(4_096 * MIB)).toBe(16 * MIB);
  expect(batchBytesFor(128 * MIB)).toBe(4 * MIB);
  expect(batchBytesFor(8 * MIB)).toBe(MIB / 2);
  expect(batchBytesFor()).toBeGreaterThanOrEqual(MIB / 2);
});

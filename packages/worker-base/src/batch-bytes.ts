// How much JSON a batch may hold, by the heap that the process has been given.

import { getHeapStatistics } from 'node:v8';

const MIB = 2 ** 20;
/** What a batch holds where memory is no concern. */
const MOST = 16 * MIB;
const LEAST = MIB / 2;
/**
 * A group has two batches in memory, one at its handler and one that was read ahead, each as text and as objects, and a worker has
 * up to three groups. With 16 MiB a batch, events of 100 kB ended `worker` under a heap of 128 MiB.
 */
const SHARE = 32;

/** In bytes. With the defaults of Node 16 MiB; under --max-old-space-size a share of it. */
export function batchBytesFor(heapBytes: number = getHeapStatistics().heap_size_limit): number {
  return Math.round(Math.min(MOST, Math.max(LEAST, heapBytes / SHARE)));
}

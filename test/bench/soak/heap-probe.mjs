// Preloaded into a worker: after each full collection it says on descriptor 3 how many bytes of its heap are in use.
// The metrics have only what is in use at a scrape, garbage included, which rises and falls by more than a leak would.

import { writeSync } from 'node:fs';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  new PerformanceObserver((list) => {
    const isFull = list
      .getEntries()
      .some(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR);
    if (isFull) writeSync(3, `${process.memoryUsage().heapUsed}\n`);
  }).observe({ entryTypes: ['gc'] });
}

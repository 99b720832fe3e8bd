// The real search handler in a real worker, into whichever sink.

import { createSearch, shippedProjections } from '@pulsebox/search';
import { drainWithWorker } from '../harness/bench-worker.ts';

export interface IndexItemsInput {
  readonly url: string;
  readonly group: string;
  readonly events: number;
  readonly batchSize: number;
  /** Without it: PostgreSQL full-text search. */
  readonly meilisearchUrl: string | undefined;
}

/** How long it took, from the first look to the last cursor stored. */
export default async function indexItems(input: IndexItemsInput): Promise<number> {
  const { url, group, batchSize, events, meilisearchUrl } = input;
  let startedAtMs = 0;
  let elapsedMs = 0;
  await drainWithWorker(
    {
      url,
      group,
      batchSize,
      handler: ({ pool, registry }) =>
        createSearch({
          pool,
          registry,
          projections: shippedProjections(),
          ...(meilisearchUrl === undefined ? {} : { meilisearch: { url: meilisearchUrl } }),
        }).handler,
    },
    events,
    {
      start(): void {
        startedAtMs = performance.now();
      },
      progress: () => undefined,
      stop(): void {
        elapsedMs = performance.now() - startedAtMs;
      },
    },
  );
  return elapsedMs;
}

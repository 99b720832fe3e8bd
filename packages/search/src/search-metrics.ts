// Prometheus families of search. Names, labels and meanings stand in docs/metrics.md, tied to this file by a test.

import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { SearchEngine } from './search-engine.ts';

export type EngineOperation = 'sync' | 'search' | 'swap';

export interface SearchMetrics {
  /** Documents written and deleted. Projections come from the configuration, so there are few. */
  readonly documents: Counter<'projection' | 'operation'>;
  readonly skipped: Counter<'reason'>;
  /** A sync is a batch of one projection, with its settings if it is the first, until the sink has it. */
  readonly duration: Histogram<'engine' | 'operation'>;
}

const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];

export function searchMetrics(registry: Registry): SearchMetrics {
  const registers = [registry];
  return {
    documents: new Counter({
      name: 'search_documents_total',
      help: 'Documents that the search index was told of: upserted or deleted.',
      labelNames: ['projection', 'operation'],
      registers,
    }),
    skipped: new Counter({
      name: 'search_events_skipped_total',
      help: 'Events of a projection whose payload does not name a row: missing_id or invalid_id.',
      labelNames: ['reason'],
      registers,
    }),
    duration: new Histogram({
      name: 'search_request_duration_seconds',
      help: 'Time that the search engine took: sync, search or swap. Failures included.',
      labelNames: ['engine', 'operation'],
      buckets: DURATION_BUCKETS,
      registers,
    }),
  };
}

/** The same engine, counted and timed. */
export function meteredEngine(engine: SearchEngine, metrics: SearchMetrics): SearchEngine {
  async function timed<T>(operation: EngineOperation, work: () => Promise<T>): Promise<T> {
    const end = metrics.duration.startTimer({ engine: engine.name, operation });
    try {
      return await work();
    } finally {
      end();
    }
  }

  return {
    ...engine,
    async sync(projection, ids, context) {
      const result = await timed('sync', () => engine.sync(projection, ids, context));
      metrics.documents.inc({ projection: projection.name, operation: 'upserted' }, result.upserted);
      metrics.documents.inc({ projection: projection.name, operation: 'deleted' }, result.deleted);
      return result;
    },
    search: (projection, query, signal) => timed('search', () => engine.search(projection, query, signal)),
    async beginRebuild(projection, context) {
      const rebuild = await engine.beginRebuild(projection, context);
      return { ...rebuild, swap: (swapContext) => timed('swap', () => rebuild.swap(swapContext)) };
    },
  };
}

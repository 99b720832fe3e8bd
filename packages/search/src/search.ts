// Search as a whole, for those who compose it: the engine that is configured, its handler, questions and rebuilds.

import type { Handler } from '@pulsebox/outbox';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import { searchHandler } from './index-handler.ts';
import { meilisearchEngine } from './meilisearch-engine.ts';
import { postgresEngine } from './postgres-engine.ts';
import type { Projection } from './projection.ts';
import { reindex } from './reindex.ts';
import type { ReindexOptions, ReindexReport } from './reindex.ts';
import type { EngineDescription, SearchEngine, SearchQuery, SearchResult } from './search-engine.ts';
import { SearchError } from './search-error.ts';
import { meteredEngine, searchMetrics } from './search-metrics.ts';
import { verifyProjections } from './view.ts';

export interface MeilisearchConnection {
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** The longest one request may take, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number | undefined;
  /** The most documents in one request. Default 500. */
  readonly batchSize?: number | undefined;
}

export interface SearchOptions {
  readonly pool: Pool;
  /** For instance `shippedProjections()` and those of `loadProjections`. */
  readonly projections: readonly Projection[];
  /** Without it: PostgreSQL full-text search. */
  readonly meilisearch?: MeilisearchConnection | undefined;
  /** Where metrics are registered. Without it there are none. */
  readonly registry?: Registry | undefined;
}

export interface Search {
  readonly engine: SearchEngine;
  readonly projections: readonly Projection[];
  /** For the relay of the group `search`. */
  readonly handler: Handler;
  /** Checks the views in the database. @throws SEARCH_PROJECTION_INVALID with every fault */
  verify(): Promise<void>;
  /** Asks one projection. @throws SEARCH_PROJECTION_UNKNOWN, SEARCH_QUERY_INVALID, SinkError */
  search(projection: string, query: SearchQuery, signal?: AbortSignal): Promise<SearchResult>;
  /** Rebuilds the index of one projection. @throws SEARCH_PROJECTION_UNKNOWN, and as `reindex` does */
  reindex(
    projection: string,
    options: Omit<ReindexOptions, 'pool' | 'engine' | 'projection'>,
  ): Promise<ReindexReport>;
  /** The engine's version and its indexes, for the operator. @throws SinkError when the sink cannot be asked */
  describe(signal?: AbortSignal): Promise<EngineDescription>;
}

export function createSearch({ pool, projections, meilisearch, registry }: SearchOptions): Search {
  const metrics = registry === undefined ? undefined : searchMetrics(registry);
  const bare =
    meilisearch === undefined ? postgresEngine({ pool }) : meilisearchEngine({ pool, ...meilisearch });
  const engine = metrics === undefined ? bare : meteredEngine(bare, metrics);

  function named(name: string): Projection {
    const projection = projections.find((candidate) => candidate.name === name);
    if (projection !== undefined) return projection;
    throw new SearchError('SEARCH_PROJECTION_UNKNOWN', `there is no projection ${JSON.stringify(name)}`, {
      hint: `there are: ${projections.map((candidate) => candidate.name).join(', ')}`,
    });
  }

  return {
    engine,
    projections,
    handler: searchHandler({ pool, engine, projections, metrics }),
    async verify(): Promise<void> {
      await verifyProjections(pool, projections);
    },
    search: async (name, query, signal) => await engine.search(named(name), query, signal),
    reindex: async (name, options) => await reindex({ ...options, pool, engine, projection: named(name) }),
    describe: (signal) => engine.describe(projections, signal),
  };
}

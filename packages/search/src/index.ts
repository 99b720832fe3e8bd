import type { MigrationSet } from '@pulsebox/postgres';

export { decodeId, encodeId, LONGEST_ID_BYTES } from './document-id.ts';
export type { SearchHandlerOptions } from './index-handler.ts';
export { searchHandler } from './index-handler.ts';
export type { PostgresEngineOptions } from './postgres-engine.ts';
export { postgresEngine } from './postgres-engine.ts';
export type {
  IdType,
  Projection,
  ProjectionSettings,
  ShippedProjectionOptions,
  VerifiedProjection,
} from './projection.ts';
export { shippedProjections } from './projection.ts';
export type { ParseProjectionsOptions } from './projection-file.ts';
export { loadProjections, parseProjections } from './projection-file.ts';
export type { ReindexOptions, ReindexProgress, ReindexReport, ReindexStep } from './reindex.ts';
export { reindex, REINDEX_LEASES } from './reindex.ts';
export type { MeilisearchConnection, Search, SearchOptions } from './search.ts';
export { createSearch } from './search.ts';
export type {
  EngineDescription,
  Fence,
  Filter,
  IndexDescription,
  Rebuild,
  SearchEngine,
  SearchHit,
  SearchQuery,
  SearchResult,
  SyncResult,
  WriteContext,
} from './search-engine.ts';
export type { SearchErrorCode, SearchErrorOptions } from './search-error.ts';
export { SearchError, searchErrorCodes } from './search-error.ts';
export type { SearchMetrics } from './search-metrics.ts';
export { searchMetrics } from './search-metrics.ts';
export type { SkipReason } from './touched-rows.ts';
export { skipReasons } from './touched-rows.ts';
export { verifyProjections } from './view.ts';

/** Documents of PostgreSQL full-text search, and the views of the shipped projections. Needs the application's tables. */
export const searchMigrations: MigrationSet = {
  name: 'search',
  directory: new URL('../migrations/', import.meta.url),
};

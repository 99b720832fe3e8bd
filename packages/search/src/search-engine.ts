// What a sink for documents can do. Two do it: PostgreSQL full-text search and Meilisearch.

import type { JsonValue } from '@pulsebox/outbox';
import type { Projection, VerifiedProjection } from './projection.ts';

/** The lease that a write is made under. A writer whose token is no longer the current one writes nothing. */
export interface Fence {
  /** The lease's. */
  readonly name: string;
  readonly token: number;
}

/** What a write runs under. */
export interface WriteContext {
  readonly fence: Fence;
  /** Aborted: stop, send nothing more. */
  readonly signal: AbortSignal;
  /** Called as a long write makes progress. */
  readonly progress: () => void;
}

export interface SyncResult {
  readonly upserted: number;
  readonly deleted: number;
  /**
   * Ids of rows that the database took too long for, each alone, while others got through; and of those whose documents are
   * too large for any sink. They are not written.
   */
  readonly tooSlow: readonly string[];
}

/**
 * An attribute, and the value it must have; of an array, one of its elements. Meilisearch compares text without regard
 * to case, full-text search with it.
 */
export type Filter = Readonly<Record<string, string | number | boolean>>;

export interface SearchQuery {
  /**
   * What somebody typed: words, of which the last may be unfinished, "phrases in quotes", and -words that must not be
   * there. Anything at all is a query. Nothing but blanks and punctuation lists every document. Only the first 1,000
   * characters count.
   */
  readonly query: string;
  /** Only documents of this organisation. Without it: of all. */
  readonly organisation?: string | undefined;
  readonly filter?: Filter | undefined;
  /** Instead of by relevance. Documents without the attribute come last. */
  readonly sort?: { readonly attribute: string; readonly direction: 'asc' | 'desc' } | undefined;
  /** 1 to 1,000. Default 20. */
  readonly limit?: number | undefined;
  /** Default 0. */
  readonly offset?: number | undefined;
}

export interface SearchHit {
  readonly id: string;
  readonly organisation: string | null;
  /** The document as its view had it, but for attributes named `id`, `organisation` or `organisation_key`. */
  readonly document: Readonly<Record<string, JsonValue>>;
}

export interface SearchResult {
  readonly hits: readonly SearchHit[];
  /** How many documents match. Meilisearch estimates, and stops at 1,000. */
  readonly total: number;
}

/** A new index beside the live one. */
export interface Rebuild {
  /** The same as the engine's, into the new index. */
  sync(ids: readonly string[], context: WriteContext): Promise<SyncResult>;
  /** Makes the new index the live one, in one step. The fence is that of the lane whose writes go to the live one. */
  swap(context: WriteContext): Promise<void>;
  /** Removes what is not live: after the swap the old index, before it the new one. */
  drop(context: Omit<WriteContext, 'fence'>): Promise<void>;
}

export interface IndexDescription {
  readonly projection: string;
  readonly index: string;
  /** `missing`: nothing was indexed yet. `settings differ`: made for another declaration; mended by the next write. */
  readonly state: 'ready' | 'missing' | 'settings differ';
  readonly documents: number;
}

export interface EngineDescription {
  readonly engine: SearchEngine['name'];
  /** The server's version. */
  readonly version: string;
  readonly indexes: readonly IndexDescription[];
}

export interface SearchEngine {
  readonly name: 'postgres' | 'meilisearch';
  /** Makes the index with its settings, or brings its settings up to date. Does the work once for each projection. */
  prepare(projection: Projection, context: WriteContext): Promise<void>;
  /**
   * Brings the documents of these rows up to date: reads the rows from the view, now and in one query, writes those
   * that are there, deletes those that are missing or marked as deleted. Returns when the sink has them.
   *
   * @throws SinkError, SEARCH_FENCED
   */
  sync(projection: VerifiedProjection, ids: readonly string[], context: WriteContext): Promise<SyncResult>;
  /** @throws SinkError, SEARCH_QUERY_INVALID */
  search(projection: Projection, query: SearchQuery, signal?: AbortSignal): Promise<SearchResult>;
  /** Starts a new index beside the live one; what an earlier rebuild left behind is removed. */
  beginRebuild(projection: VerifiedProjection, context: WriteContext): Promise<Rebuild>;
  /** For the operator. @throws SinkError when the sink cannot be asked */
  describe(projections: readonly Projection[], signal?: AbortSignal): Promise<EngineDescription>;
}

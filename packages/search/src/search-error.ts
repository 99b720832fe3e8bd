// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const searchErrorCodes = [
  'SEARCH_DOCUMENT_SLOW',
  'SEARCH_FENCED',
  'SEARCH_PROJECTION_INVALID',
  'SEARCH_PROJECTION_UNKNOWN',
  'SEARCH_QUERY_INVALID',
  'SEARCH_REINDEX_LANE_BUSY',
  'SEARCH_REINDEX_RUNNING',
  'SEARCH_SINK_AWAY',
  'SEARCH_SINK_DENIED',
  'SEARCH_SINK_REJECTED',
] as const;

export type SearchErrorCode = (typeof searchErrorCodes)[number];

export interface SearchErrorOptions {
  readonly hint: string;
  readonly cause?: unknown;
}

export class SearchError extends Error {
  override readonly name: string = 'SearchError';
  readonly code: SearchErrorCode;
  readonly hint: string;

  constructor(code: SearchErrorCode, message: string, options: SearchErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

// A sink that did not take what it was sent, and whose fault that is.

import { SearchError } from './search-error.ts';
import type { SearchErrorOptions } from './search-error.ts';

/**
 * `away`: the sink cannot take anything at present (network, overload, a full disk, a key it refuses). What was sent
 * is not at fault: keep the cursor, wait, send it again. `rejected`: the sink is well and refuses what was sent; the
 * same again will be refused again.
 */
export type SinkErrorKind = 'away' | 'rejected';

export interface SinkErrorOptions extends SearchErrorOptions {
  /** The sink's own name for the fault, for instance `no_space_left_on_device`. */
  readonly sinkCode?: string | undefined;
  /** How long the sink asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

export class SinkError extends SearchError {
  override readonly name = 'SinkError';
  readonly kind: SinkErrorKind;
  readonly sinkCode: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: 'SEARCH_SINK_AWAY' | 'SEARCH_SINK_DENIED' | 'SEARCH_SINK_REJECTED',
    message: string,
    options: SinkErrorOptions,
  ) {
    super(code, message, options);
    this.kind = code === 'SEARCH_SINK_REJECTED' ? 'rejected' : 'away';
    this.sinkCode = options.sinkCode;
    this.retryAfterMs = options.retryAfterMs;
  }
}

// A sink that did not take what it was sent, and whose fault that is. Every capability's sink speaks through this type.

/**
 * `away`: the sink cannot take anything at present (network, overload, a full disk, a key it refuses). What was sent
 * is not at fault: the group pauses, and the same is sent again. `rejected`: the sink is well and refuses what was
 * sent; the same again will be refused again, unless it says after how long it will not be (`retryAfterMs`).
 */
export type SinkErrorKind = 'away' | 'rejected';

export interface SinkErrorOptions {
  /** What a person can do about it. */
  readonly hint: string;
  readonly cause?: unknown;
  /** The sink's own name for the fault, for instance `no_space_left_on_device`. */
  readonly sinkCode?: string | undefined;
  /**
   * How long the sink asked to be left alone, in milliseconds. Of one that is `away`: the group pauses at least as long.
   * Of one that `rejected` an event: the event is parked, and tried again after that.
   */
  readonly retryAfterMs?: number | undefined;
}

/** Thrown by a handler. `code` is one of the capability's own, listed in docs/errors.md. */
export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly kind: SinkErrorKind;
  readonly code: string;
  readonly hint: string;
  readonly sinkCode: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(kind: SinkErrorKind, code: string, message: string, options: SinkErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.hint = options.hint;
    this.sinkCode = options.sinkCode;
    this.retryAfterMs = options.retryAfterMs;
  }
}

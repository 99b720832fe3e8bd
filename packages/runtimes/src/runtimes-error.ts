// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const runtimesErrorCodes = [
  'RUNTIMES_API_AWAY',
  'RUNTIMES_API_DENIED',
  'RUNTIMES_API_REFUSED',
  'RUNTIMES_API_THROTTLED',
  'RUNTIMES_CONFIG_INVALID',
  'RUNTIMES_KEPT_ELSEWHERE',
  'RUNTIMES_USER_UNKNOWN',
] as const;

export type RuntimesErrorCode = (typeof runtimesErrorCodes)[number];

export interface RuntimesErrorOptions {
  readonly hint: string;
  readonly cause?: unknown;
  /** Of the API server's answer. Undefined: it gave none. */
  readonly status?: number | undefined;
  /** How long the API server asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

export class RuntimesError extends Error {
  override readonly name = 'RuntimesError';
  readonly code: RuntimesErrorCode;
  readonly hint: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: RuntimesErrorCode, message: string, options: RuntimesErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

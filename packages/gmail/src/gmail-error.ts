// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.
// No token, code or key is ever part of one.

export const gmailErrorCodes = [
  'GMAIL_ANSWER_INVALID',
  'GMAIL_AWAY',
  'GMAIL_CLIENT_REFUSED',
  'GMAIL_DATABASE_AWAY',
  'GMAIL_EVENT_INVALID',
  'GMAIL_GRANT_REVOKED',
  'GMAIL_KEYRING_INVALID',
  'GMAIL_KEY_UNKNOWN',
  'GMAIL_RATE_LIMITED',
  'GMAIL_REQUEST_REFUSED',
  'GMAIL_SECRET_INVALID',
  'GMAIL_SYNC_FENCED',
] as const;

export type GmailErrorCode = (typeof gmailErrorCodes)[number];

export interface GmailErrorOptions {
  readonly hint: string;
  readonly cause?: unknown;
  /** The HTTP status that Google answered with. */
  readonly status?: number | undefined;
  /** How long Google asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

export class GmailError extends Error {
  override readonly name = 'GmailError';
  readonly code: GmailErrorCode;
  readonly hint: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: GmailErrorCode, message: string, options: GmailErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function isGmailError(error: unknown, ...codes: readonly GmailErrorCode[]): error is GmailError {
  return error instanceof GmailError && (codes.length === 0 || codes.includes(error.code));
}

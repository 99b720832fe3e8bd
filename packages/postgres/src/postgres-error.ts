// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const postgresErrorCodes = [
  'POSTGRES_COMMIT_ROLLED_BACK',
  'POSTGRES_CONNECTION_CONFIG',
  'POSTGRES_EMBEDDED_FAILED',
  'POSTGRES_EMBEDDED_RUNNING',
  'POSTGRES_EMBEDDED_UNAVAILABLE',
  'POSTGRES_EMBEDDED_VERSION',
  'POSTGRES_LEASE_EXPIRED',
  'POSTGRES_MIGRATION_CHANGED',
  'POSTGRES_MIGRATION_FAILED',
  'POSTGRES_MIGRATIONS_PENDING',
  'POSTGRES_VERSION_UNSUPPORTED',
] as const;

export type PostgresErrorCode = (typeof postgresErrorCodes)[number];

export class PostgresError extends Error {
  override readonly name = 'PostgresError';
  readonly code: PostgresErrorCode;
  readonly hint: string;

  constructor(code: PostgresErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

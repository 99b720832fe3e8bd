// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

import { exitCodes } from './exit-code.ts';
import type { ExitCode } from './exit-code.ts';

export const cliErrorCodes = [
  'CLI_DATABASE_AWAY',
  'CLI_DATABASE_NOT_FOUND',
  'CLI_DATABASE_NOT_MIGRATED',
  'CLI_DATABASE_REFUSED',
  'CLI_FILE_STORAGE',
  'CLI_FILE_UNREADABLE',
  'CLI_JSON_INVALID',
  'CLI_MAIL_CONSENT',
  'CLI_MAIL_OFF',
  'CLI_RUNTIMES_OFF',
  'CLI_RUN_FILE_INVALID',
  'CLI_STATEMENT_FAILED',
  'CLI_UNEXPECTED',
  'CLI_USAGE_INVALID',
] as const;

export type CliErrorCode = (typeof cliErrorCodes)[number];

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;
  readonly hint: string;

  constructor(code: CliErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  get exitCode(): ExitCode {
    if (this.code === 'CLI_DATABASE_AWAY') return exitCodes.away;
    return this.code === 'CLI_STATEMENT_FAILED' || this.code === 'CLI_UNEXPECTED'
      ? exitCodes.no
      : exitCodes.usage;
  }
}

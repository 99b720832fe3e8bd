// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const importsErrorCodes = [
  'IMPORTS_ENDED_REPEATEDLY',
  'IMPORTS_FENCED',
  'IMPORTS_FILE_BROKEN',
  'IMPORTS_FILE_CHANGED',
  'IMPORTS_FILE_MISSING',
  'IMPORTS_FORMAT_UNKNOWN',
  'IMPORTS_MAPPING_INVALID',
  'IMPORTS_PATH_FORBIDDEN',
  'IMPORTS_REQUEST_INVALID',
] as const;

export type ImportsErrorCode = (typeof importsErrorCodes)[number];

export class ImportsError extends Error {
  override readonly name = 'ImportsError';
  readonly code: ImportsErrorCode;
  readonly hint: string;

  constructor(code: ImportsErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

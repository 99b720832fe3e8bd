// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const pushErrorCodes = [
  'PUSH_ENDPOINT_FORBIDDEN',
  'PUSH_MESSAGE_INVALID',
  'PUSH_OPTIONS_INVALID',
  'PUSH_SUBSCRIPTION_INVALID',
  'PUSH_VAPID_INVALID',
] as const;

export type PushErrorCode = (typeof pushErrorCodes)[number];

export class PushError extends Error {
  override readonly name = 'PushError';
  readonly code: PushErrorCode;
  readonly hint: string;

  constructor(code: PushErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

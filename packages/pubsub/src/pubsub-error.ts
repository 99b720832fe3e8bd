// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const pubsubErrorCodes = [
  'PUBSUB_ACCESS_DENIED',
  'PUBSUB_CREDENTIALS_INVALID',
  'PUBSUB_NAME_INVALID',
  'PUBSUB_SINK_AWAY',
  'PUBSUB_SINK_DENIED',
  'PUBSUB_SINK_REJECTED',
  'PUBSUB_STREAM_LOST',
  'PUBSUB_SUBSCRIPTION_UNKNOWN',
] as const;

export type PubSubErrorCode = (typeof pubsubErrorCodes)[number];

export interface PubSubErrorOptions {
  readonly hint: string;
  readonly cause?: unknown;
}

export class PubSubError extends Error {
  override readonly name = 'PubSubError';
  readonly code: PubSubErrorCode;
  readonly hint: string;

  constructor(code: PubSubErrorCode, message: string, options: PubSubErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

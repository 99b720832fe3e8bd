// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const outboxErrorCodes = [
  'OUTBOX_CHANNEL_INVALID',
  'OUTBOX_EVENT_INVALID',
  'OUTBOX_EVENT_NOT_PARKED',
  'OUTBOX_FILTER_INVALID',
  'OUTBOX_GROUP_INVALID',
  'OUTBOX_HANDLER_RESULT_INVALID',
  'OUTBOX_GROUP_UNKNOWN',
  'OUTBOX_LANE_BUSY',
  'OUTBOX_LANES_INVALID',
  'OUTBOX_LEASE_LOST',
  'OUTBOX_NOT_IN_TRANSACTION',
  'OUTBOX_POSITION_INVALID',
  'OUTBOX_SINK_UNREACHABLE',
] as const;

export type OutboxErrorCode = (typeof outboxErrorCodes)[number];

export class OutboxError extends Error {
  override readonly name = 'OutboxError';
  readonly code: OutboxErrorCode;
  readonly hint: string;

  constructor(code: OutboxErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

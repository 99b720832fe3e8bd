// Errors of this package carry a code (docs/errors.md lists them all), a hint that says what to do, and the cause.

export const jobsErrorCodes = [
  'JOBS_END_UNWRITTEN',
  'JOBS_HEARTBEAT_LOST',
  'JOBS_JOB_INVALID',
  'JOBS_JOB_TIMEOUT',
  'JOBS_PRIVILEGE_MISSING',
  'JOBS_QUEUE_INVALID',
  'JOBS_QUEUE_POLICY',
  'JOBS_QUEUE_UNKNOWN',
  'JOBS_SCHEDULE_INVALID',
  'JOBS_SCHEMA_FOREIGN',
  'JOBS_SCHEMA_MISSING',
  'JOBS_SCHEMA_NEWER',
  'JOBS_SCHEMA_OLDER',
  'JOBS_STOPPED',
] as const;

export type JobsErrorCode = (typeof jobsErrorCodes)[number];

export class JobsError extends Error {
  override readonly name = 'JobsError';
  readonly code: JobsErrorCode;
  readonly hint: string;

  constructor(code: JobsErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

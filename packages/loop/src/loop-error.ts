// Errors of this package carry a code that docs/errors.md explains, and where one can help, a hint.

/** Every code this package can throw or log, with what it means. A test ties it to docs/errors.md. */
export const loopErrorCodes = {
  LOOP_ENV_INVALID: 'One or more environment variables are missing or have values that cannot be used.',
  LOOP_FLAGS_INVALID: 'The command line has an unknown flag or command, or a flag with an unusable value.',
  LOOP_NODE_UNSUPPORTED: 'The program was started with a Node.js that is too old for it.',
  LOOP_OPTIONS_INVALID: 'A worker was composed wrongly: its name, its loops or its numbers.',
  LOOP_PORT_IN_USE: 'The sidecar cannot listen because another process holds its port.',
  LOOP_SIDECAR_START_FAILED: 'The sidecar could not listen on its host and port, or did not start in time.',
  LOOP_SIDECAR_DIED: 'The thread of the sidecar ended while the worker ran.',
  LOOP_TICK_DEADLINE: 'A tick ran longer than its deadline; its signal was aborted.',
  LOOP_TICK_RESULT_INVALID: 'A tick returned something that is not a tick result.',
  LOOP_DRAIN_DEADLINE: 'The drain time was over while a tick was in flight; its signal was aborted.',
  LOOP_TICK_ABANDONED: 'A tick ignored its aborted signal and was left behind by a stopping worker.',
  LOOP_ENDED_UNASKED: 'A loop ended although nobody asked the worker to stop.',
  LOOP_STOP_FAILED: 'A loop or the worker could not be closed cleanly within its time.',
} as const;

export type LoopErrorCode = keyof typeof loopErrorCodes;

export interface LoopErrorOptions {
  /** What a person can do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** An error with a stable `code`, and perhaps a `hint`. */
export class LoopError extends Error {
  override readonly name: string = 'LoopError';
  readonly code: LoopErrorCode;
  readonly hint: string | undefined;

  constructor(code: LoopErrorCode, message: string, options: LoopErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

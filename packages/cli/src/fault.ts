// Any error, as pulsebox tells it: what was expected, what came, what to do, and the exit code.

import { CliError } from './cli-error.ts';
import { exitCodes } from './exit-code.ts';
import type { ExitCode } from './exit-code.ts';

export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly exitCode: ExitCode;
}

/** Codes of other packages where the fault is in what was asked for, or in the configuration. */
const USAGE: ReadonlySet<string> = new Set([
  'GMAIL_CLIENT_REFUSED',
  'GMAIL_GRANT_REVOKED',
  'GMAIL_KEYRING_INVALID',
  'IMPORTS_MAPPING_INVALID',
  'IMPORTS_PATH_FORBIDDEN',
  'IMPORTS_REQUEST_INVALID',
  'LOOP_ENV_INVALID',
  'OUTBOX_CHANNEL_INVALID',
  'OUTBOX_EVENT_INVALID',
  'OUTBOX_FILTER_INVALID',
  'OUTBOX_GROUP_UNKNOWN',
  'OUTBOX_LANES_INVALID',
  'OUTBOX_POSITION_INVALID',
  'POSTGRES_CONNECTION_CONFIG',
  'POSTGRES_VERSION_UNSUPPORTED',
  'PUSH_MESSAGE_INVALID',
  'RUNTIMES_API_DENIED',
  'RUNTIMES_CONFIG_INVALID',
  'RUNTIMES_USER_UNKNOWN',
  'SEARCH_PROJECTION_INVALID',
  'SEARCH_PROJECTION_UNKNOWN',
  'SEARCH_QUERY_INVALID',
  'SEARCH_SINK_DENIED',
]);

const AWAY: ReadonlySet<string> = new Set([
  'GMAIL_AWAY',
  'GMAIL_RATE_LIMITED',
  'RUNTIMES_API_AWAY',
  'RUNTIMES_API_THROTTLED',
  'SEARCH_SINK_AWAY',
]);

export function faultOf(error: unknown): Fault {
  if (error instanceof CliError) return error;
  if (isCoded(error))
    return { code: error.code, message: error.message, hint: error.hint, exitCode: exitCodeOf(error.code) };
  return {
    code: 'CLI_UNEXPECTED',
    message: error instanceof Error ? error.message : String(error),
    hint: 'this was not foreseen; run the same command again with --verbose to see where it comes from',
    exitCode: exitCodes.no,
  };
}

function exitCodeOf(code: string): ExitCode {
  if (AWAY.has(code)) return exitCodes.away;
  return USAGE.has(code) ? exitCodes.usage : exitCodes.no;
}

/** The errors of our own packages carry a code and a hint. */
function isCoded(error: unknown): error is Error & { readonly code: string; readonly hint: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    'hint' in error &&
    typeof error.hint === 'string' &&
    /^[A-Z]+_/.test(error.code)
  );
}
